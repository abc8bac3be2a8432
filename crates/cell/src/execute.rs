//! The application's process, just before it is the application.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use cloister_proto::messages::cell::{Stdin, Variable};
use cloister_sys::process;
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::getpid;

use crate::confine::labels;
use crate::failure::{CELL_FAILED, NOT_EXECUTABLE, NOT_FOUND, Problem};

/// Connects standard input.
///
/// # Errors
///
/// Those of dup2(2).
pub fn connect_stdin(stdin: Stdin, null: &OwnedFd) -> Result<(), Problem> {
    match stdin {
        Stdin::Null => Ok(rustix::stdio::dup2_stdin(null)?),
        Stdin::Inherit | Stdin::Terminal => Ok(()),
    }
}

/// Executes the program; returns only the reason why that failed.
#[must_use]
pub fn execute(command: &[String], environment: &[Variable], listening: &[String]) -> Problem {
    let mut variables: Vec<_> = environment
        .iter()
        .filter(|variable| listening.is_empty() || !is_listening(&variable.name))
        .map(|variable| format!("{}={}", variable.name, variable.value))
        .collect();
    if !listening.is_empty() {
        // sd_listen_fds(3): LISTEN_PID is the reader's own id, as its namespace has it.
        variables.push(format!("LISTEN_PID={}", getpid().as_raw_pid()));
        variables.push(format!("LISTEN_FDS={}", listening.len()));
        variables.push(format!("LISTEN_FDNAMES={}", listening.join(":")));
    }
    let search = environment
        .iter()
        .rev()
        .find(|variable| variable.name == "PATH")
        .map_or("", |variable| &variable.value);
    let (Some(arguments), Some(variables)) = (strings(command.iter()), strings(variables.iter()))
    else {
        return Errno::INVAL.into();
    };
    let Some(program) = arguments.first() else {
        return Errno::INVAL.into();
    };
    let error = process::execute(program, &arguments, &variables, search.as_bytes());
    let problem = Problem::from(error).at(&command[0]);
    match explain(&command[0], problem.errno, search) {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn is_listening(name: &str) -> bool {
    matches!(name, "LISTEN_PID" | "LISTEN_FDS" | "LISTEN_FDNAMES")
}

fn strings<'a>(texts: impl Iterator<Item = &'a String>) -> Option<Vec<CString>> {
    texts.map(|text| CString::new(text.as_str()).ok()).collect()
}

/// The exit code for a failed step, as shells have it.
#[must_use]
pub fn exit_code(step: &str, errno: i32) -> i32 {
    match (step, Errno::from_raw_os_error(errno)) {
        ("execute", Errno::NOENT) => NOT_FOUND,
        ("execute", _) => NOT_EXECUTABLE,
        _ => CELL_FAILED,
    }
}

fn explain(program: &str, errno: Errno, search: &str) -> Option<String> {
    let label = labels::pending();
    let hint = match errno {
        Errno::NOENT if !program.contains('/') => {
            format!("no folder of PATH has it inside the cell: PATH is {search:?}")
        }
        Errno::NOENT if access(program, Access::EXISTS).is_ok() => {
            "it is there, but its interpreter (the first line of a script, the loader of a \
             binary) cannot be seen in the cell: bind that too"
                .into()
        }
        Errno::NOENT => "the program cannot be seen in the cell: bind the folder it is in".into(),
        Errno::ACCESS if access(program, Access::EXEC_OK).is_err() => {
            "the application's user may not execute it: check the modes of the file and of the \
             folders above it"
                .into()
        }
        Errno::ACCESS | Errno::PERM if label.is_some() => format!(
            "the policy does not let it be executed under {}: the refusal is in the audit log or \
             in dmesg. SELinux asks for transition, entrypoint and, since a cell gains no \
             privileges and its mounts honour none, for nnp_transition and nosuid_transition",
            label.unwrap_or_default()
        ),
        Errno::ACCESS => {
            "it is bound without permission to execute, or its interpreter is no program".into()
        }
        Errno::NOEXEC => "it is no program of this machine's kind, nor a script with #!".into(),
        Errno::TXTBSY => "somebody has it open for writing: try again when that is done".into(),
        Errno::TOOBIG => "arguments and environment are too long: execve(2), E2BIG".into(),
        _ => return None,
    };
    Some(hint)
}
