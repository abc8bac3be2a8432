//! Capabilities: capabilities(7).

use std::io;

use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, set_capabilities, set_capabilities_secure_bits,
};

/// Whether the calling thread holds all of `wanted` effectively.
///
/// # Errors
///
/// Those of capget(2).
pub fn holds(wanted: CapabilitySet) -> io::Result<bool> {
    Ok(capabilities(None)?.effective.contains(wanted))
}

/// Whether the calling thread has nothing effective, permitted or inheritable; then nothing
/// is ambient either.
///
/// # Errors
///
/// Those of capget(2).
pub fn holds_none() -> io::Result<bool> {
    let sets = capabilities(None)?;
    Ok((sets.effective | sets.permitted | sets.inheritable).is_empty())
}

/// Makes everything effective that is permitted: setresuid(2) away from root empties the
/// effective set even where `PR_SET_KEEPCAPS` keeps the permitted one.
///
/// # Errors
///
/// Those of capset(2).
pub fn make_permitted_effective() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective = sets.permitted;
    Ok(set_capabilities(None, sets)?)
}

/// Empties every capability set of the calling thread, the bounding set and the ambient set
/// included, and locks the rule that user 0 gets capabilities by execve(2) off.
///
/// It cannot be undone, not by executing a set-user-id program either.
///
/// # Errors
///
/// `EPERM` without CAP_SETPCAP over the user namespace.
pub fn drop_all() -> io::Result<()> {
    clear_ambient_capability_set()?;
    drop_bounding_set()?;
    set_capabilities_secure_bits(
        CapabilitiesSecureBits::NO_ROOT
            | CapabilitiesSecureBits::NO_ROOT_LOCKED
            | CapabilitiesSecureBits::NO_SETUID_FIXUP
            | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
            | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
            | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED,
    )?;
    drop_held()
}

/// Empties every capability set of the calling thread but the bounding set, which only a thread
/// with CAP_SETPCAP can: what a thread without new privileges executes gains nothing by that.
///
/// # Errors
///
/// Those of prctl(2) and capset(2).
pub fn drop_all_but_bounding() -> io::Result<()> {
    clear_ambient_capability_set()?;
    drop_held()
}

/// Empties the effective, permitted and inheritable sets of the calling thread.
///
/// # Errors
///
/// Those of capset(2).
pub fn drop_held() -> io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, none)?)
}

/// Drops every capability that the running kernel knows: it may know more than this program.
fn drop_bounding_set() -> io::Result<()> {
    for number in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } == 0 {
            continue;
        }
        let error = io::Error::last_os_error();
        // EINVAL: there is no capability of this number, nor of a higher one.
        return match error.raw_os_error() {
            Some(number) if number == Errno::INVAL.raw_os_error() => Ok(()),
            _ => Err(error),
        };
    }
    Ok(())
}
