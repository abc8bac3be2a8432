//! TLS alerts: the refusal that a client understands.

use std::fmt;

/// The alerts that a front door without keys has reason to send (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Alert {
    /// A message or record that may not stand here.
    UnexpectedMessage = 10,
    /// A record longer than 2^14 bytes.
    RecordOverflow = 22,
    /// A field that is well-formed but wrong.
    IllegalParameter = 47,
    /// A field that runs out of its bounds.
    DecodeError = 50,
    /// A protocol version that is recognized but not spoken.
    ProtocolVersion = 70,
    /// A failure that is not the peer's.
    InternalError = 80,
    /// Given up for a reason outside the protocol: here, a deadline.
    UserCanceled = 90,
    /// No server by that name (RFC 6066 section 3).
    UnrecognizedName = 112,
}

impl Alert {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in the specification, for example `unrecognized_name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnexpectedMessage => "unexpected_message",
            Self::RecordOverflow => "record_overflow",
            Self::IllegalParameter => "illegal_parameter",
            Self::DecodeError => "decode_error",
            Self::ProtocolVersion => "protocol_version",
            Self::InternalError => "internal_error",
            Self::UserCanceled => "user_canceled",
            Self::UnrecognizedName => "unrecognized_name",
        }
    }

    /// The whole record, unencrypted, as it stands before any key is agreed.
    ///
    /// The record version is 3,3 for every client: RFC 8446 section 5.1 fixes it and older
    /// versions of TLS take it, since only the alert's two bytes matter to a peer that gives
    /// up. The level is always fatal (2): nothing follows but the end of the connection,
    /// and a warning would leave a TLS 1.2 client waiting.
    #[must_use]
    pub const fn record(self) -> [u8; 7] {
        const ALERT_RECORD: u8 = 21;
        const FATAL: u8 = 2;
        [ALERT_RECORD, 3, 3, 0, 2, FATAL, self.code()]
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Alert;

    #[test]
    fn records_are_fatal_alerts_of_two_bytes() {
        assert_eq!(
            Alert::UnrecognizedName.record(),
            [21, 3, 3, 0, 2, 2, 112],
            "RFC 8446 section 6: level 2, description 112"
        );
        assert_eq!(Alert::UnexpectedMessage.record()[6], 10);
        assert_eq!(Alert::RecordOverflow.record()[6], 22);
        assert_eq!(Alert::IllegalParameter.record()[6], 47);
        assert_eq!(Alert::DecodeError.record()[6], 50);
        assert_eq!(Alert::ProtocolVersion.record()[6], 70);
        assert_eq!(Alert::InternalError.record()[6], 80);
        assert_eq!(Alert::UserCanceled.record()[6], 90);
    }

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(Alert::DecodeError.to_string(), "decode_error");
        assert_eq!(Alert::UserCanceled.to_string(), "user_canceled");
    }
}
