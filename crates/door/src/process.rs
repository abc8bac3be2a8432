//! What both ways of serving do to the process.

use cloister_sys::signals::SignalDescriptor;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

/// Has the signals that mean "stop" read from a descriptor, in every thread.
///
/// # Errors
///
/// What failed, for a person.
pub fn block_signals() -> Result<SignalDescriptor, String> {
    let stop = [Signal::HUP, Signal::TERM, Signal::INT].map(Signal::as_raw);
    SignalDescriptor::block(&stop).map_err(|error| format!("cannot block signals: {error}"))
}

/// As many descriptors as the system allows: each relayed connection takes two.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Raising the soft limit to the hard one needs no privilege; should it fail, the old
    // limit serves, and reaching it pauses the listeners.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}
