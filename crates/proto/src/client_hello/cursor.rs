//! Reads TLS presentation language (RFC 8446 section 3) from a bounded piece of bytes.

use super::HelloError;

/// What has not been read yet. Every read names the field that it is for.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    pub(super) fn bytes(
        &mut self,
        length: usize,
        field: &'static str,
    ) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(HelloError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, HelloError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, HelloError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// A vector behind a length of one byte.
    pub(super) fn vector8(&mut self, field: &'static str) -> Result<&'a [u8], HelloError> {
        let length = self.u8(field)?;
        self.bytes(usize::from(length), field)
    }

    /// A vector behind a length of two bytes.
    pub(super) fn vector16(&mut self, field: &'static str) -> Result<&'a [u8], HelloError> {
        let length = self.u16(field)?;
        self.bytes(usize::from(length), field)
    }

    /// Nothing may be left of `field`.
    pub(super) const fn end(&self, field: &'static str) -> Result<(), HelloError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(HelloError::Trailing {
                field,
                length: self.rest.len(),
            })
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], HelloError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(HelloError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }
}
