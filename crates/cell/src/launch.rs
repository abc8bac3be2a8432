//! The three processes: launcher, init and application, and when each comes to be.

use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::cell::{Failure, Spec, Stdin};
use cloister_sys::clone::{NewNamespaces, Process, clone_into, clone_process};
use cloister_sys::process::{close_all_but, erase_environment, exit_now, reset_signals};
use cloister_sys::signals::SignalDescriptor;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use crate::construction::Construction;
use crate::execute::exit_code;
use crate::failure::{CELL_FAILED, Problem, Report};
use crate::operation::{Operation, Stage};
use crate::plan::{Caller, Plan};
use crate::specification::refusal;
use crate::stay::{self, End};

/// Makes the cell, runs the application and waits for its end. Blocks until then.
///
/// Returns in the launcher only. `lifeline` is a pipe's reading end: where its end comes,
/// the launcher ends, and with it the cell. A failure has been reported when it is returned.
///
/// # Errors
///
/// The exit code where no application ran, or where it cannot be told how it ended.
pub fn run(
    spec: Spec,
    caller: Caller,
    report: Report,
    lifeline: Option<OwnedFd>,
) -> Result<End, i32> {
    let plan = Plan::new(&spec, caller);
    let own_session = spec.protections.new_session || spec.stdin == Stdin::Terminal;
    let namespaces = new_namespaces(&spec);
    drop(spec);
    erase_environment();
    reset_signals();
    let (signals, mut construction, inits_end) = match begin(report) {
        Ok(begun) => begun,
        Err((report, failure)) => return Err(fail(&report, &failure)),
    };
    if let Err(failure) = construction.carry_out(plan.stage(Stage::Prepare)) {
        return Err(fail(&construction.report, &failure));
    }
    let group = construction.unified.as_ref().map(AsFd::as_fd);
    match clone_into(namespaces, group) {
        Err(error) => {
            let failure = failure_of(&plan, Stage::Prepare, "create-namespaces", error.into());
            Err(fail(&construction.report, &failure))
        }
        Ok(Process::Child) => {
            construction.control = inits_end;
            drop(lifeline);
            let code = init(plan, construction);
            exit_now(code)
        }
        Ok(Process::Parent(init)) => {
            drop(inits_end);
            construction.init = Some(init);
            let watched = Watched {
                signals: &signals,
                lifeline,
            };
            launcher(plan, construction, watched, init, own_session)
        }
    }
}

/// What tells the launcher to do something.
struct Watched<'a> {
    signals: &'a SignalDescriptor,
    lifeline: Option<OwnedFd>,
}

type Begun = (SignalDescriptor, Construction, OwnedFd);

/// What every cell needs, whatever the plan.
fn begin(report: Report) -> Result<Begun, (Report, Failure)> {
    let opened = stay::block_signals()
        .map_err(Problem::from)
        .and_then(|signals| {
            let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY;
            let null = rustix::fs::open("/dev/null", flags, Mode::empty())
                .map_err(|errno| Problem::from(errno).at("/dev/null"))?;
            let line = socketpair(
                AddressFamily::UNIX,
                SocketType::SEQPACKET,
                SocketFlags::CLOEXEC,
                None,
            )?;
            Ok((signals, null, line))
        });
    match opened {
        Ok((signals, null, (ours, inits))) => {
            Ok((signals, Construction::new(report, ours, null), inits))
        }
        Err(problem) => {
            let mut failure = refusal("begin", "start the launcher", problem.errno, None);
            failure.path = problem.path;
            Err((report, failure))
        }
    }
}

/// The launcher once init exists.
fn launcher(
    plan: Plan,
    mut construction: Construction,
    watched: Watched<'_>,
    init: Pid,
    own_session: bool,
) -> Result<End, i32> {
    construction.release();
    let done = construction
        .carry_out(plan.stage(Stage::Identify))
        .and_then(|()| construction.carry_out(plan.stage(Stage::Stay).filter(is_launchers)))
        .and_then(|()| {
            let byte: rustix::io::Result<usize> = rustix::io::write(&construction.control, &[0]);
            match byte {
                // Init has ended by itself and has reported why.
                Ok(_) | Err(Errno::PIPE) => Ok(()),
                Err(errno) => Err(refusal("begin", "let init begin", errno, None)),
            }
        });
    if let Err(failure) = done {
        let code = fail(&construction.report, &failure);
        // Init sees the end of the line and ends.
        drop(construction);
        let _ = rustix::process::waitpid(Some(init), rustix::process::WaitOptions::empty());
        return Err(code);
    }
    let direct = !has_init(&plan);
    drop(plan);
    let (control, null) = construction.finish();
    let Watched { signals, lifeline } = watched;
    let mut kept = vec![control.as_fd(), signals.descriptor()];
    kept.extend(lifeline.as_ref().map(AsFd::as_fd));
    let _ = let_go(&kept, null);
    let line = stay::Line {
        control: Some(control),
        process: init,
        own_session,
        direct,
    };
    stay::launcher(signals, line, lifeline.as_ref()).map_err(|_| CELL_FAILED)
}

/// Init, from its first moment. Returns its exit code.
fn init(plan: Plan, mut construction: Construction) -> i32 {
    let mut operations = plan.operations();
    let terminal = operations.any(|(_, one)| matches!(one, Operation::LeadSession));
    drop(operations);
    if let Err(failure) = construction.carry_out(plan.stage(Stage::Build)) {
        if failure.errno == Errno::PIPE.raw_os_error() && failure.step == "await-launcher" {
            // The launcher has failed and said so, or was killed: nobody waits any more.
            return CELL_FAILED;
        }
        return fail(&construction.report, &failure);
    }
    if !has_init(&plan) {
        return match construction.carry_out(plan.stage(Stage::Enter)) {
            Ok(()) => CELL_FAILED,
            Err(failure) => fail(&construction.report, &failure),
        };
    }
    match clone_process(NewNamespaces::default()) {
        Err(error) => {
            let failure = failure_of(&plan, Stage::Build, "start-application", error.into());
            fail(&construction.report, &failure)
        }
        Ok(Process::Child) => match construction.carry_out(plan.stage(Stage::Enter)) {
            Ok(()) => CELL_FAILED,
            Err(failure) => fail(&construction.report, &failure),
        },
        Ok(Process::Parent(application)) => {
            construction.release();
            let confined = construction.carry_out(plan.stage(Stage::Stay).filter(is_inits));
            drop(plan);
            if let Err(failure) = confined {
                return fail(&construction.report, &failure);
            }
            let (control, null) = construction.finish();
            let Ok(signals) = stay::block_signals() else {
                return CELL_FAILED;
            };
            let kept = [control.as_fd(), signals.descriptor()];
            if let_go(&kept, null).is_err() {
                return CELL_FAILED;
            }
            match stay::init(&signals, &control, application, terminal) {
                Ok(Some(End::Exited(code))) => code.into(),
                Ok(Some(End::Signalled(signal))) => 128 + i32::from(signal),
                Ok(None) | Err(_) => CELL_FAILED,
            }
        }
    }
}

/// Whether there is an init beside the application.
fn has_init(plan: &Plan) -> bool {
    let mut operations = plan.operations();
    operations.any(|(_, one)| matches!(one, Operation::StartApplication))
}

/// Closes everything but `kept`, standard streams included.
fn let_go(kept: &[std::os::fd::BorrowedFd<'_>], null: OwnedFd) -> Result<(), Problem> {
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    Ok(close_all_but(kept, 3)?)
}

fn is_launchers(operation: &&Operation) -> bool {
    matches!(operation, Operation::ConfineLauncher { .. })
}

fn is_inits(operation: &&Operation) -> bool {
    matches!(operation, Operation::ConfineInit { .. })
}

/// Reports a failure; returns the exit code for it.
fn fail(report: &Report, failure: &Failure) -> i32 {
    report.send(failure);
    exit_code(&failure.step, failure.errno)
}

/// The failure of an operation that is not carried out by [`Construction`].
fn failure_of(plan: &Plan, stage: Stage, step: &str, problem: Problem) -> Failure {
    let operation = plan.stage(stage).find(|one| one.step() == step);
    Failure {
        step: step.to_owned(),
        description: operation.map_or_else(String::new, Operation::describe),
        errno: problem.errno.raw_os_error(),
        hint: operation.and_then(|one| crate::hints::hint(one, &problem)),
        path: problem.path,
    }
}

fn new_namespaces(spec: &Spec) -> NewNamespaces {
    let own = &spec.namespaces;
    let groups = &spec.control_groups;
    let grouped = groups.unified.is_some() || !groups.members.is_empty();
    NewNamespaces {
        user: own.user,
        mount: own.mount,
        pid: own.pid,
        ipc: own.ipc,
        uts: own.uts,
        // Otherwise init makes it once it is in its groups: see `Operation::IsolateControlGroups`.
        cgroup: own.cgroup && !grouped,
        network: own.network,
    }
}
