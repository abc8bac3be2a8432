//! The parsers seen from outside: examples, properties, hostile bytes, and the fuzzing corpus.

mod builder;
mod captured;
mod client_hello;
mod client_hello_extensions;
mod client_hello_fields;
mod client_hello_properties;
mod corpus;
mod hashed_name;
mod hostname;
mod properties;
mod proxy_header;
mod reading;
