//! System call filters: seccomp(2).
//!
//! Filters stack: of all that a thread has, the strictest answer counts.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Runs it.
    Allow,
    /// Fails it with this error number.
    Fail(i32),
    /// Kills the process (`SIGSYS`).
    Kill,
}

/// What an argument must be for a rule to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Which one, from 0.
    pub index: u8,
    /// The bits that are looked at, of the low 32.
    pub mask: u32,
    /// What they must be.
    pub value: u32,
}

/// One system call and, for one of several alternatives, what all the arguments must be.
/// An empty list matches every call.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its number (`libc::SYS_…`).
    pub call: i64,
    /// Conditions that hold together.
    pub arguments: &'static [Argument],
}

/// Puts a filter on the calling thread and on every thread that it starts: `matched` for
/// the calls of the rules, `otherwise` for all others. Sets no_new_privs. Irrevocable.
///
/// # Errors
///
/// Those of seccomp(2); `EINVAL` where the kernel has no filters or this processor's calls
/// are unknown.
pub fn filter(rules: &[Rule], matched: Action, otherwise: Action) -> io::Result<()> {
    let invalid = |error: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
    };
    let program = compile(rules, matched, otherwise).map_err(|error| invalid(&error))?;
    apply_filter(&program).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        other => invalid(&other),
    })
}

fn compile(
    rules: &[Rule],
    matched: Action,
    otherwise: Action,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut chains: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in rules {
        let chain = chains.entry(rule.call).or_default();
        if rule.arguments.is_empty() {
            continue;
        }
        let condition = |argument: &Argument| {
            SeccompCondition::new(
                argument.index,
                SeccompCmpArgLen::Dword,
                SeccompCmpOp::MaskedEq(argument.mask.into()),
                argument.value.into(),
            )
        };
        let conditions = rule.arguments.iter().map(condition);
        chain.push(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?);
    }
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(chains, otherwise.into(), matched.into(), architecture)?.try_into()
}

impl From<Action> for SeccompAction {
    fn from(action: Action) -> Self {
        match action {
            Action::Allow => Self::Allow,
            Action::Fail(number) => Self::Errno(u32::try_from(number).unwrap_or(0)),
            Action::Kill => Self::KillProcess,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Filters are a thread's own, so each test has a thread of its own.
    fn in_thread(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(test).join().expect("the thread ends");
    }

    #[test]
    fn a_matched_call_fails_and_others_run() {
        in_thread(|| {
            let rules = [Rule {
                call: libc::SYS_getppid,
                arguments: &[],
            }];
            filter(&rules, Action::Fail(libc::ENOTTY), Action::Allow).expect("a filter");
            // SAFETY: getppid(2) and getpid(2) take and touch nothing.
            let (parent, own) = unsafe {
                (
                    libc::syscall(libc::SYS_getppid),
                    libc::syscall(libc::SYS_getpid),
                )
            };
            assert_eq!(parent, -1);
            assert!(own > 0);
        });
    }

    #[test]
    fn arguments_are_compared_under_their_mask() {
        in_thread(|| {
            let rules = [Rule {
                call: libc::SYS_socket,
                arguments: &[Argument {
                    index: 0,
                    mask: u32::MAX,
                    value: libc::AF_INET as u32,
                }],
            }];
            filter(&rules, Action::Fail(libc::EACCES), Action::Allow).expect("a filter");
            let error = std::net::UdpSocket::bind("127.0.0.1:0").expect_err("filtered");
            assert_eq!(error.raw_os_error(), Some(libc::EACCES));
            std::os::unix::net::UnixStream::pair().expect("not filtered");
        });
    }

    #[test]
    fn a_fatal_call_kills_the_process() {
        // SAFETY: the child makes system calls only and ends by _exit(2).
        let child = unsafe { libc::fork() };
        if child == 0 {
            let rules = [Rule {
                call: libc::SYS_getppid,
                arguments: &[],
            }];
            let _ = filter(&rules, Action::Kill, Action::Allow);
            // SAFETY: as above.
            unsafe {
                libc::syscall(libc::SYS_getppid);
                libc::_exit(0)
            }
        }
        let mut status = 0;
        // SAFETY: the status is one local integer.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFSIGNALED(status));
        assert_eq!(libc::WTERMSIG(status), libc::SIGSYS);
    }
}
