//! What is held while a cell is made, and the carrying out of each operation with it.

use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::cell::{
    Content, ControlGroups, Descriptor, Effect, Failure, Fence, File,
};
use cloister_sys::{
    capabilities, clocks, descriptors, keyring, network, process, terminal, threads,
};
use rustix::fs::{FileType, Mode, fchmod, fchown, fstat};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Gid, Pid, Signal, Uid, getpid, set_child_subreaper, set_dumpable_behavior,
    set_parent_process_death_signal, setsid, umask,
};
use rustix::thread::{
    set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::failure::{AtPath, Problem, Report};
use crate::operation::Operation;
use crate::root::Root;
use crate::{confine, egress, execute, hints, hosts, idmap, mounts};

/// The most that is read of one credential, in bytes.
const CREDENTIAL_LIMIT: usize = 1024 * 1024;

/// Everything that is held open while a cell is made. Each process has its own copy from
/// the moment when it exists; each drops it when it is done.
#[derive(Debug)]
pub struct Construction {
    /// Where failures go.
    pub report: Report,
    /// This process's end of the line between launcher and init.
    pub control: OwnedFd,
    /// `/dev/null`.
    pub null: OwnedFd,
    /// The init process; only the launcher knows it.
    pub init: Option<Pid>,
    /// The directory of the control group of version 2 that init is made in.
    pub unified: Option<OwnedFd>,
    control_groups: Vec<OwnedFd>,
    listening: Vec<OwnedFd>,
    credentials: Vec<(i32, OwnedFd)>,
    egress: Option<OwnedFd>,
    sources: Vec<Option<OwnedFd>>,
    root: Option<Root>,
    landlock: Option<Fence>,
}

impl Construction {
    /// Nothing but the three descriptors that every process has.
    #[must_use]
    pub fn new(report: Report, control: OwnedFd, null: OwnedFd) -> Self {
        Self {
            report,
            control,
            null,
            init: None,
            unified: None,
            control_groups: Vec::new(),
            listening: Vec::new(),
            credentials: Vec::new(),
            egress: None,
            sources: Vec::new(),
            root: None,
            landlock: None,
        }
    }

    /// Carries out operations one after the other, and stops at the first that fails.
    ///
    /// # Errors
    ///
    /// That failure, ready to be reported.
    pub fn carry_out<'a>(
        &mut self,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> Result<(), Failure> {
        for operation in operations {
            self.execute(operation).map_err(|problem| Failure {
                step: operation.step().to_owned(),
                description: operation.describe(),
                errno: problem.errno.raw_os_error(),
                hint: problem
                    .hint
                    .clone()
                    .or_else(|| hints::hint(operation, &problem)),
                path: problem.path,
            })?;
        }
        Ok(())
    }

    fn execute(&mut self, operation: &Operation) -> Result<(), Problem> {
        match operation {
            Operation::TakeDescriptors {
                listening,
                credentials,
                egress,
            } => {
                self.take_descriptors(listening, credentials)?;
                self.take_egress(*egress)
            }
            Operation::OpenSource(source) => {
                let opened = mounts::open_source(source)?;
                self.sources.push(opened);
                Ok(())
            }
            Operation::TakeControlGroups(groups) => self.take_control_groups(groups),
            Operation::SetGroups(groups) => {
                let groups: Vec<_> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
                Ok(set_thread_groups(&groups)?)
            }
            // The two operations that make a process return twice: see `launch`.
            Operation::CreateNamespaces(_) | Operation::StartApplication => Ok(()),
            Operation::MapIdentity {
                identity,
                privileged,
            } => {
                let init = self.init.ok_or(Errno::INVAL)?;
                idmap::map(init, identity, *privileged)
            }
            Operation::AwaitLauncher { adopt } => self.await_launcher(*adopt),
            Operation::EnterControlGroups { .. } => self.enter_control_groups(),
            Operation::IsolateControlGroups => Ok(threads::unshare_control_groups()?),
            Operation::OwnClocks(wanted) => {
                clocks::leave(wanted.monotonic_ns, wanted.boottime_ns).at(clocks::OFFSETS)
            }
            Operation::BecomeUser { uid, gid } => become_user(*uid, *gid),
            Operation::SetHostname(name) => Ok(rustix::system::sethostname(name.as_bytes())?),
            Operation::RaiseLoopback => Ok(network::raise_loopback()?),
            Operation::OfferEgress { ways, owner } => {
                let receiver = self.egress.take().ok_or(Errno::INVAL)?;
                egress::offer(&receiver, ways, self.root.as_mut(), *owner)
            }
            Operation::JoinKeyring => join_keyring(),
            Operation::IsolateMounts => mounts::isolate(),
            Operation::MakeRoot { size_bytes } => {
                // Modes are made as they are asked for; the application gets its own umask.
                umask(Mode::empty());
                self.root = Some(mounts::make_root(*size_bytes)?);
                Ok(())
            }
            Operation::ShowRoot { slot, .. } => {
                umask(Mode::empty());
                let source = self.sources.get_mut(*slot).and_then(Option::take);
                self.root = Some(mounts::show_root(source.ok_or(Errno::INVAL)?)?);
                Ok(())
            }
            Operation::AttachSource {
                slot, destination, ..
            } => self.attach_source(*slot, destination),
            Operation::MountTemporary(memory) | Operation::MountDevices(memory) => {
                mounts::mount_memory(self.root_mut()?, memory)
            }
            Operation::MountTerminals => mounts::mount_terminals(self.root_mut()?),
            Operation::MountProc { whole } => mounts::mount_proc(self.root_mut()?, *whole),
            Operation::CoverProc { shown } => confine::proc::cover(self.root_mut()?, shown),
            Operation::SetLabels(labels) => labels.iter().try_for_each(confine::labels::set),
            Operation::LimitResources(limits) => confine::limits::limit(limits),
            Operation::Restrict(restriction) => {
                self.landlock = Some(restriction.apply()?);
                Ok(())
            }
            Operation::FilterCalls(calls) => confine::system_calls::filter(calls),
            Operation::ReportFences(fences) => {
                let fences = confine::effect::with_landlock(fences, self.landlock.as_ref());
                self.report.send_effect(&Effect { fences });
                Ok(())
            }
            Operation::NameHosts(hosts) => hosts::cover(self.root_mut()?, hosts),
            Operation::WriteFile { file, owner } => self.write_file(file, *owner),
            Operation::MakeLink(link) => self.root_mut()?.link(&link.path, &link.target),
            Operation::EnterRoot => mounts::enter(self.root_mut()?),
            Operation::SealMount { path } => self.root_mut()?.seal(path),
            Operation::SealCopies => self.root_mut()?.seal_copies(),
            Operation::LeadSession => Ok(terminal::lead_session(rustix::stdio::stdin())?),
            Operation::TakeForeground => Ok(terminal::take_foreground(rustix::stdio::stdin())?),
            Operation::NewSession => Ok(setsid().map(drop)?),
            Operation::DieWithInit => Ok(set_parent_process_death_signal(Some(Signal::KILL))?),
            Operation::LimitCore => confine::limit_core(),
            Operation::DropCapabilities { bounding: true } => Ok(capabilities::drop_all()?),
            Operation::DropCapabilities { bounding: false } => {
                Ok(capabilities::drop_all_but_bounding()?)
            }
            Operation::ForbidNewPrivileges => Ok(set_no_new_privs(true)?),
            Operation::ConnectStdin(stdin) => execute::connect_stdin(*stdin, &self.null),
            Operation::PlaceDescriptors { .. } => self.place_descriptors(),
            Operation::CloseDescriptors { first } => Ok(process::close_from_on_exec(*first)?),
            Operation::ResetSignals => {
                process::reset_signals();
                umask(Mode::from_raw_mode(0o022));
                Ok(())
            }
            Operation::ChangeDirectory(path) => rustix::process::chdir(path.as_str()).at(path),
            Operation::Execute {
                command,
                environment,
                listening,
            } => Err(execute::execute(command, environment, listening)),
            Operation::ConfineLauncher {
                host,
                privileged,
                die_with_parent,
            } => {
                if *privileged {
                    become_user(host.0, host.1)?;
                }
                confine::launcher(*die_with_parent)
            }
            Operation::ConfineInit { capabilities } => confine::init(*capabilities),
        }
    }

    fn root_mut(&mut self) -> Result<&mut Root, Problem> {
        self.root.as_mut().ok_or_else(|| Errno::INVAL.into())
    }

    fn take_descriptors(
        &mut self,
        listening: &[Descriptor],
        credentials: &[(i32, String)],
    ) -> Result<(), Problem> {
        for Descriptor { name, descriptor } in listening {
            let place = format!("descriptor {descriptor} ({name})");
            let taken = descriptors::take_inherited(*descriptor).at(&place)?;
            if FileType::from_raw_mode(fstat(&taken)?.st_mode) != FileType::Socket {
                return Err(Problem::from(Errno::NOTSOCK).at(&place));
            }
            self.listening.push(taken);
        }
        for (number, path) in credentials {
            let taken = descriptors::take_inherited(*number)
                .at(&format!("descriptor {number} for {path}"))?;
            self.credentials.push((*number, taken));
        }
        Ok(())
    }

    fn take_egress(&mut self, number: Option<i32>) -> Result<(), Problem> {
        let take = |number: i32| {
            descriptors::take_inherited(number).at(&format!("descriptor {number} for egress"))
        };
        self.egress = number.map(take).transpose()?;
        Ok(())
    }

    fn take_control_groups(&mut self, groups: &ControlGroups) -> Result<(), Problem> {
        let take = |number: i32| {
            descriptors::take_inherited(number)
                .at(&format!("descriptor {number} of a control group"))
        };
        self.unified = groups.unified.map(take).transpose()?;
        let members: Result<Vec<_>, _> = groups.members.iter().map(|&one| take(one)).collect();
        self.control_groups = members?;
        Ok(())
    }

    fn enter_control_groups(&mut self) -> Result<(), Problem> {
        for members in std::mem::take(&mut self.control_groups) {
            // 0 stands for the writer (cgroups(7), "Creating cgroups and moving processes"), so
            // it does not matter how the writer's pid namespace counts.
            rustix::io::write(&members, b"0")?;
        }
        Ok(())
    }

    /// Blocks until the launcher has sent its byte; fails when it has gone instead.
    fn await_launcher(&self, adopt: bool) -> Result<(), Problem> {
        let mut byte = [0];
        loop {
            match rustix::io::read(&self.control, &mut byte) {
                Ok(0) => return Err(Errno::PIPE.into()),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if adopt {
            set_child_subreaper(Some(getpid()))?;
        }
        die_with_launcher()
    }

    fn attach_source(&mut self, slot: usize, destination: &str) -> Result<(), Problem> {
        let source = self.sources.get_mut(slot).and_then(Option::take);
        let root = self.root.as_mut().ok_or(Errno::INVAL)?;
        // An optional source that is missing was passed over.
        source.map_or(Ok(()), |tree| {
            mounts::attach_source(root, &tree, destination)
        })
    }

    fn write_file(&mut self, file: &File, owner: Option<(u32, u32)>) -> Result<(), Problem> {
        let content = match &file.content {
            Content::Text { text } => text.clone().into_bytes(),
            Content::Descriptor { descriptor } => self
                .read_credential(*descriptor)
                .map_err(|problem| problem.at(&file.path))?,
        };
        let made = self.root_mut()?.create(&file.path, Mode::empty())?;
        mounts::write_all(&made, &content).at(&file.path)?;
        if let Some((uid, gid)) = owner {
            fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).at(&file.path)?;
        }
        fchmod(&made, Mode::from_raw_mode(file.mode)).at(&file.path)
    }

    fn read_credential(&mut self, number: i32) -> Result<Vec<u8>, Problem> {
        let place = self
            .credentials
            .iter()
            .position(|(taken, _)| *taken == number);
        let (_, source) = self.credentials.swap_remove(place.ok_or(Errno::BADF)?);
        // Room for all of it at once: growing would copy the secret about.
        let mut content = vec![0; CREDENTIAL_LIMIT + 1];
        let mut length = 0;
        loop {
            match rustix::io::read(&source, &mut content[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if length > CREDENTIAL_LIMIT {
                return Err(Problem::from(Errno::FBIG)
                    .hint(format!("a credential has at most {CREDENTIAL_LIMIT} bytes")));
            }
        }
        content.truncate(length);
        Ok(content)
    }

    fn place_descriptors(&mut self) -> Result<(), Problem> {
        let listening = std::mem::take(&mut self.listening);
        let first_free = 3 + i32::try_from(listening.len()).map_err(|_| Errno::MFILE)?;
        // The report's descriptor may stand where a socket is to be.
        self.report.move_above(first_free)?;
        let borrowed: Vec<_> = listening.iter().map(AsFd::as_fd).collect();
        process::place_descriptors(&borrowed, 3)?;
        // Their numbers may be those of the copies now: the execution closes the others.
        std::mem::forget(listening);
        Ok(())
    }

    /// Ends the making: closes everything but the line and `/dev/null`. With the report's
    /// descriptor goes this process's claim that the cell is still being made.
    #[must_use]
    pub fn finish(self) -> (OwnedFd, OwnedFd) {
        (self.control, self.null)
    }

    /// Lets go of everything that only the making of the cell needed.
    pub fn release(&mut self) {
        self.unified = None;
        self.control_groups.clear();
        self.listening.clear();
        self.credentials.clear();
        self.egress = None;
        self.sources.clear();
        self.root = None;
    }
}

/// The kernel sends SIGKILL when the parent ends; a change of user cancels that
/// (prctl(2) `PR_SET_PDEATHSIG`), so it is asked for again after each.
fn die_with_launcher() -> Result<(), Problem> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Becomes another user for good, keeping its capabilities: in a user namespace those over
/// the namespace, which are still needed to mount.
fn become_user(uid: u32, gid: u32) -> Result<(), Problem> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_keep_capabilities(true)?;
    set_thread_res_uid(uid, uid, uid)?;
    set_keep_capabilities(false)?;
    capabilities::make_permitted_effective()?;
    // Otherwise whoever has the same user could trace this process and use what it has.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    die_with_launcher()
}

fn join_keyring() -> Result<(), Problem> {
    match keyring::join_new_session_keyring() {
        // A kernel without keyrings has none to share.
        Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => Ok(()),
        other => Ok(other?),
    }
}
