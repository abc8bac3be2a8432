//! The outcomes of a parser that do not end in an error.

/// What a parser knows after the bytes that it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// Everything so far is right and more bytes are needed.
    NeedMore,
    /// The value.
    Complete(T),
}

impl<T> Progress<T> {
    /// The value, where there is one.
    pub fn complete(self) -> Option<T> {
        match self {
            Self::NeedMore => None,
            Self::Complete(value) => Some(value),
        }
    }
}
