//! A system call filter that knows what is allowed, and refuses everything else: seccomp(2).
//!
//! The answers, in the order in which they are looked for:
//!
//! 1. a call of another architecture kills the process: its numbers mean other calls;
//! 2. so does one of x32, which borrows x86_64's numbers (bit 30 set);
//! 3. a call that is newer than the table, or that shall seem not to be there: `ENOSYS`,
//!    upon which a C library takes its older way;
//! 4. an allowed call whose arguments are as they must be: it runs;
//! 5. everything else: `EPERM`.
//!
//! The kernel remembers for each number whether the filter allows it whatever the arguments
//! are, and does not run the filter then (Linux 5.11, seccomp_cache_prepare_bitmap() in
//! kernel/seccomp.c): the length of the list costs such a call nothing. To know that, it tries
//! the filter with every number when it is put up, which is why those calls are found by
//! halving; the crate's own list, which is gone through from its beginning, holds those with
//! conditions only.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter, sock_filter,
};

use crate::system_calls::{Architecture, NEWEST, Number, all};

/// How many calls may seem not to be there: a jump of the filter is at most 255 long.
pub const ABSENT_LIMIT: usize = 128;

/// What an argument's low 32 bits must be. All arguments that are compared here are 32 bits
/// wide for the kernel too: what a program puts above them changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// These bits must have these values.
    Equal {
        /// The bits that are looked at.
        mask: u32,
        /// What they must be.
        value: u32,
    },
    /// Anything but this value.
    Differs {
        /// The value.
        value: u32,
    },
}

/// A condition for one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which one, from 0 to 5.
    pub argument: u8,
    /// What it must be.
    pub comparison: Comparison,
}

/// What one architecture's processes may call.
#[derive(Debug)]
pub struct AllowList {
    architecture: Architecture,
    numbers: BTreeMap<&'static str, Number>,
    /// Alternatives of conditions that hold together; none for a call without conditions.
    allowed: BTreeMap<u32, Vec<Vec<Condition>>>,
    absent: BTreeSet<u32>,
}

/// A name that no architecture has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCall;

impl AllowList {
    /// An empty list: nothing is allowed.
    #[must_use]
    pub fn new(architecture: Architecture) -> Self {
        Self {
            architecture,
            numbers: all(architecture).collect(),
            allowed: BTreeMap::new(),
            absent: BTreeSet::new(),
        }
    }

    fn number(&self, name: &str) -> Result<Option<u32>, UnknownCall> {
        match self.numbers.get(name) {
            Some(Number::Here(number)) => Ok(Some(*number)),
            Some(Number::Elsewhere) => Ok(None),
            None => Err(UnknownCall),
        }
    }

    /// Allows a call with any arguments, whatever else is said of it.
    ///
    /// # Errors
    ///
    /// [`UnknownCall`]; one of another architecture is passed over.
    pub fn allow(&mut self, name: &str) -> Result<(), UnknownCall> {
        if let Some(number) = self.number(name)? {
            self.allowed.insert(number, Vec::new());
        }
        Ok(())
    }

    /// Allows a call also where all these conditions hold.
    ///
    /// # Errors
    ///
    /// As [`AllowList::allow`].
    pub fn allow_when(&mut self, name: &str, conditions: &[Condition]) -> Result<(), UnknownCall> {
        if let Some(number) = self.number(name)? {
            match self.allowed.get_mut(&number) {
                Some(alternatives) if alternatives.is_empty() => {}
                Some(alternatives) => alternatives.push(conditions.to_vec()),
                None => {
                    self.allowed.insert(number, vec![conditions.to_vec()]);
                }
            }
        }
        Ok(())
    }

    /// Makes a call seem not to be there.
    ///
    /// # Errors
    ///
    /// As [`AllowList::allow`].
    pub fn hide(&mut self, name: &str) -> Result<(), UnknownCall> {
        self.absent.extend(self.number(name)?);
        Ok(())
    }

    /// Puts the filter on the calling thread and on all that it starts. Sets no_new_privs.
    /// Irrevocable.
    ///
    /// # Errors
    ///
    /// Those of seccomp(2); `EINVAL` where the list cannot be made a filter.
    pub fn apply(&self) -> io::Result<()> {
        let program = self.compile()?;
        apply_filter(&program).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => invalid(&other),
        })
    }

    fn compile(&self) -> io::Result<BpfProgram> {
        if self.absent.len() > ABSENT_LIMIT {
            return Err(invalid(&"too many calls are to seem absent"));
        }
        let mut chains = BTreeMap::new();
        let conditional = self.allowed.iter().filter(|(_, rules)| !rules.is_empty());
        for (number, alternatives) in conditional {
            let rules = alternatives.iter().map(|conditions| rule(conditions));
            let rules = rules.collect::<Result<Vec<_>, _>>();
            chains.insert(i64::from(*number), rules.map_err(|error| invalid(&error))?);
        }
        let target = match self.architecture {
            Architecture::X86_64 => TargetArch::x86_64,
            Architecture::Aarch64 => TargetArch::aarch64,
        };
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let mut program: BpfProgram =
            SeccompFilter::new(chains, refused, SeccompAction::Allow, target)
                .and_then(TryInto::try_into)
                .map_err(|error| invalid(&error))?;
        // After the three instructions that compare the architecture; what follows loads the
        // number itself.
        let mut before = self.absences();
        before.extend(self.unconditional());
        program.splice(3..3, before);
        Ok(program)
    }

    /// The instructions that let the calls without conditions run; others go on behind them.
    fn unconditional(&self) -> Vec<sock_filter> {
        let mut changes: Vec<u32> = Vec::new();
        let unconditional = self.allowed.iter().filter(|(_, rules)| rules.is_empty());
        for (number, _) in unconditional {
            // Two changes at one place are none: a range goes on.
            if changes.last() == Some(number) {
                changes.pop();
            } else {
                changes.push(*number);
            }
            changes.push(number + 1);
        }
        let mut program = halves(&changes, false);
        let length = program.len();
        for (place, instruction) in program.iter_mut().enumerate() {
            if instruction.k == BEHIND
                && u32::from(instruction.code) == libc::BPF_JMP | libc::BPF_JA
            {
                instruction.k = u32::try_from(length - place - 1).unwrap_or(BEHIND);
            }
        }
        program
    }

    /// The instructions for the answers 2 and 3.
    fn absences(&self) -> Vec<sock_filter> {
        const NUMBER: u32 = 0;
        const X32: u32 = 0x4000_0000;
        let statement = |code: u32, k: u32| instruction(code, 0, 0, k);
        let mut program = vec![statement(
            libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
            NUMBER,
        )];
        let mut to_absent = Vec::new();
        if self.architecture == Architecture::X86_64 {
            // syscall(-1) is what tracers and curious programs do: not x32.
            program.push(jump(libc::BPF_JGE, X32, 0, 2));
            program.push(jump(libc::BPF_JEQ, u32::MAX, 1, 0));
            program.push(statement(
                libc::BPF_RET | libc::BPF_K,
                libc::SECCOMP_RET_KILL_PROCESS,
            ));
        }
        to_absent.push((libc::BPF_JGT, NEWEST));
        to_absent.extend(self.absent.iter().map(|number| (libc::BPF_JEQ, *number)));
        let count = to_absent.len();
        for (index, (comparison, number)) in to_absent.into_iter().enumerate() {
            // Over the comparisons that follow and the jump behind them.
            let distance = u8::try_from(count - index).unwrap_or(u8::MAX);
            program.push(jump(comparison, number, distance, 0));
        }
        program.push(statement(libc::BPF_JMP | libc::BPF_JA, 1));
        program.push(statement(
            libc::BPF_RET | libc::BPF_K,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ));
        program
    }
}

/// Stands for a jump behind everything, until it is known how far that is.
const BEHIND: u32 = u32::MAX;

/// Finds on which side of the `changes` from refused to allowed and back the number is;
/// `allowed`: before the first one.
fn halves(changes: &[u32], allowed: bool) -> Vec<sock_filter> {
    let Some(middle) = changes.get(changes.len() / 2) else {
        return vec![if allowed {
            instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW)
        } else {
            instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, BEHIND)
        }];
    };
    let (below, above) = changes.split_at(changes.len() / 2);
    let left = halves(below, allowed);
    // Each change turns it over: those below, and the one in the middle.
    let right = halves(&above[1..], allowed ^ below.len().is_multiple_of(2));
    // A jump of its own: a condition's reaches 255 instructions only.
    let over = u32::try_from(left.len()).unwrap_or(BEHIND);
    let mut program = vec![
        jump(libc::BPF_JGE, *middle, 0, 1),
        instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, over),
    ];
    program.extend(left);
    program.extend(right);
    program
}

fn rule(conditions: &[Condition]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.iter().map(|condition| {
        let (operator, value) = match condition.comparison {
            Comparison::Equal { mask, value } => (SeccompCmpOp::MaskedEq(mask.into()), value),
            Comparison::Differs { value } => (SeccompCmpOp::Ne, value),
        };
        SeccompCondition::new(
            condition.argument,
            SeccompCmpArgLen::Dword,
            operator,
            value.into(),
        )
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        // Codes have 8 bits: linux/bpf_common.h.
        code: code as u16,
        jt,
        jf,
        k,
    }
}

fn jump(comparison: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, jt, jf, k)
}

fn invalid(error: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error.to_string())
}

#[cfg(test)]
mod tests;
