//! Time namespaces: time_namespaces(7).

use std::fs::OpenOptions;
use std::io::{self, Write};

use rustix::thread::UnshareFlags;

/// How [`leave`] sets the offsets of the new namespace.
pub const OFFSETS: &str = "/proc/self/timens_offsets";

const SECOND: i64 = 1_000_000_000;

/// Has the processes that the caller makes from now on live in a time namespace of their own,
/// whose clocks show so many nanoseconds more than the caller's. The caller stays in its own,
/// and may make no process that shares its memory any more (clone(2) `CLONE_VM`).
///
/// Call it before a change of user: /proc/self/timens_offsets belongs to root afterwards.
///
/// # Errors
///
/// `EINVAL` where the kernel has no time namespaces (Linux 5.6), `EPERM` without CAP_SYS_ADMIN
/// and CAP_SYS_TIME, `ERANGE` where a clock would show less than 0 or more than 146 years.
pub fn leave(monotonic_ns: i64, boottime_ns: i64) -> io::Result<()> {
    // SAFETY: CLONE_NEWTIME concerns processes that are made later; no descriptor, memory or
    // identifier of this one is affected.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWTIME) }.map_err(io::Error::from)?;
    if monotonic_ns == 0 && boottime_ns == 0 {
        return Ok(());
    }
    let text = offsets(monotonic_ns, boottime_ns);
    let mut file = OpenOptions::new().write(true).open(OFFSETS)?;
    match file.write(text.as_bytes())? {
        written if written < text.len() => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(()),
    }
}

/// Whole seconds may be negative, nanoseconds may not.
fn offsets(monotonic_ns: i64, boottime_ns: i64) -> String {
    let line = |clock, ns: i64| {
        let (seconds, rest) = (ns.div_euclid(SECOND), ns.rem_euclid(SECOND));
        format!("{clock} {seconds} {rest}\n")
    };
    line("monotonic", monotonic_ns) + &line("boottime", boottime_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_never_negative() {
        assert_eq!(
            offsets(-1, 3_000_000_001),
            "monotonic -1 999999999\nboottime 3 1\n"
        );
    }
}
