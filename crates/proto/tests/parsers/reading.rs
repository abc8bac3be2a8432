//! What the examples ask of the ClientHello reader.

use cloister_proto::alert::Alert;
use cloister_proto::client_hello::{ClientHello, DEFAULT_LIMIT, HelloError, HelloReader, Progress};

use crate::builder::Hello;

/// The outcome of all bytes at once.
pub fn read(bytes: &[u8]) -> Result<Progress, HelloError> {
    HelloReader::new(DEFAULT_LIMIT).advance(bytes)
}

/// A hello that is right.
pub fn complete(bytes: &[u8]) -> ClientHello {
    match read(bytes) {
        Ok(Progress::Complete(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

/// The server name of a hello that is right.
pub fn name_of(bytes: &[u8]) -> Option<String> {
    complete(bytes).server_name.map(|name| name.to_string())
}

/// A hello that is answered by an alert.
pub fn refused(hello: &Hello, expected: HelloError, alert: Alert) {
    assert_eq!(read(&hello.bytes()), Err(expected));
    assert_eq!(expected.alert(), alert, "{expected}");
}
