//! From a specification to the list of operations that make the cell.
//!
//! The plan is made before anything is touched, and the same list is executed and printed.
//! Its order is what makes the cell tight:
//!
//! 1. *Prepare*: with the caller's privileges. Sources of binds are opened here where the
//!    caller may mount (root): a cell's user need not be able to reach them. An ordinary
//!    user's sources are opened by init, in a user namespace of its own, with that user's
//!    rights. clone3(2) puts the cell into its control group of version 2 from the start.
//! 2. *Identify*: the launcher maps ids; init waits for it.
//! 3. *Build*: init enters its control groups of version 1 first. Their namespace is made
//!    then, not before: its root is the group that its maker is in. It becomes the application's user first (files in memory belong to the one
//!    mapped id), then builds the root from the outside in and enters it. Without a user
//!    namespace it becomes that user only after the last mount. A root file system of the
//!    application's own takes the place of the empty root here.
//! 4. *Enter*: the application's process gives up what it has. Capabilities go before
//!    `no_new_privs`, and both before anything is looked up in the cell, so that what fails
//!    fails with the application's own rights. Landlock comes right before the working
//!    directory is entered, resource limits and the seccomp filter last before the execution:
//!    each needs the system calls of what precedes it. What is in force is said in between.
//! 5. *Stay*: launcher and init confine themselves, at the same time as 4.

use cloister_proto::messages::cell::{Content, Link, Owners, Spec, Stdin};
use cloister_sys::mount::Restrictions;

use crate::confine::effect;
use crate::confine::landlock::Restriction;
use crate::operation::{Memory, Operation, Source, Stage};

/// The devices in a cell: bound from the host, since no user namespace may make any.
const DEVICES: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];
/// Links in /dev that programs expect.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
];
/// The bound of /dev/shm.
const SHARED_MEMORY: u64 = 64 * 1024 * 1024;
/// The bound of the root, which holds mount points and small files, and of /dev.
const ROOT_SIZE: u64 = 256 * 1024 * 1024;
const DEVICES_SIZE: u64 = 1024 * 1024;

/// Who asks for a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whether the launcher may mount and become any user: root, or an equal of it.
    pub privileged: bool,
    /// Whether the launcher is to end with the process that started it.
    pub die_with_parent: bool,
}

/// All operations, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    privileged: bool,
    operations: Vec<Operation>,
}

impl Plan {
    /// Plans the cell that the specification asks for.
    #[must_use]
    pub fn new(spec: &Spec, caller: Caller) -> Self {
        let mut planner = Planner::new(spec, caller);
        planner.plan();
        Self {
            privileged: caller.privileged,
            operations: planner.operations,
        }
    }

    /// The operations of one stage, in order.
    pub fn stage(&self, stage: Stage) -> impl Iterator<Item = &Operation> {
        self.operations
            .iter()
            .filter(move |operation| operation.stage(self.privileged) == stage)
    }

    /// All operations with their stages, in order.
    pub fn operations(&self) -> impl Iterator<Item = (Stage, &Operation)> {
        self.operations
            .iter()
            .map(|operation| (operation.stage(self.privileged), operation))
    }

    /// How many sources are opened.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.operations
            .iter()
            .filter(|operation| matches!(operation, Operation::OpenSource(_)))
            .count()
    }
}

struct Planner<'a> {
    spec: &'a Spec,
    caller: Caller,
    operations: Vec<Operation>,
    sources: Vec<Operation>,
}

impl<'a> Planner<'a> {
    fn new(spec: &'a Spec, caller: Caller) -> Self {
        Self {
            spec,
            caller,
            operations: Vec::new(),
            sources: Vec::new(),
        }
    }

    fn add(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    fn add_if(&mut self, wanted: bool, operation: Operation) {
        if wanted {
            self.operations.push(operation);
        }
    }

    fn plan(&mut self) {
        let spec = self.spec;
        // Mounts first: they decide which sources are opened, and by whom.
        let root = spec.namespaces.mount.then(|| self.root());
        let mounts = if spec.namespaces.mount {
            self.mounts()
        } else {
            Vec::new()
        };
        self.prepare();
        let own_user = spec.namespaces.user;
        self.add_if(
            own_user,
            Operation::MapIdentity {
                identity: spec.identity.clone(),
                privileged: self.caller.privileged,
            },
        );
        self.build(root, mounts);
        self.enter();
        self.add(Operation::ConfineLauncher {
            host: (spec.identity.host_uid, spec.identity.host_gid),
            privileged: self.caller.privileged,
            die_with_parent: self.caller.die_with_parent,
        });
        self.add_if(
            spec.init,
            Operation::ConfineInit {
                capabilities: spec.protections.drop_capabilities && self.drops_bounding(),
            },
        );
    }

    /// Whether the bounding set of capabilities is emptied as well. An ordinary user whose cell
    /// has no user namespace cannot, and gains nothing by it where nothing gains privileges.
    fn drops_bounding(&self) -> bool {
        self.spec.namespaces.user
            || self.caller.privileged
            || !self.spec.protections.no_new_privileges
    }

    /// Whether the cell has control groups of its own.
    fn is_grouped(&self) -> bool {
        let groups = &self.spec.control_groups;
        groups.unified.is_some() || !groups.members.is_empty()
    }

    fn prepare(&mut self) {
        let spec = self.spec;
        let credentials: Vec<_> = if spec.namespaces.mount {
            let files = spec.filesystem.files.iter();
            files
                .filter_map(|file| match file.content {
                    Content::Descriptor { descriptor } => Some((descriptor, file.path.clone())),
                    Content::Text { .. } => None,
                })
                .collect()
        } else {
            Vec::new()
        };
        let egress = spec.egress.as_ref().map(|one| one.descriptor);
        self.add_if(
            !spec.descriptors.is_empty() || !credentials.is_empty() || egress.is_some(),
            Operation::TakeDescriptors {
                listening: spec.descriptors.clone(),
                credentials,
                egress,
            },
        );
        self.add_if(
            !spec.fences.labels.is_empty(),
            Operation::SetLabels(spec.fences.labels.clone()),
        );
        if self.caller.privileged {
            self.operations.append(&mut self.sources);
            self.add(Operation::SetGroups(spec.host_groups.clone()));
        }
        let grouped = self.is_grouped();
        self.add_if(
            grouped,
            Operation::TakeControlGroups(spec.control_groups.clone()),
        );
        self.add(Operation::CreateNamespaces(spec.namespaces.clone()));
    }

    fn build(&mut self, root: Option<Operation>, mounts: Vec<Operation>) {
        let spec = self.spec;
        let namespaces = &spec.namespaces;
        let identity = &spec.identity;
        self.add(Operation::AwaitLauncher {
            adopt: spec.init && !namespaces.pid,
        });
        let count = spec.control_groups.members.len();
        self.add_if(count > 0, Operation::EnterControlGroups { count });
        self.add_if(
            self.is_grouped() && namespaces.cgroup,
            Operation::IsolateControlGroups,
        );
        // As the user who owns the file of the offsets, which another one would not.
        self.add_if(namespaces.time, Operation::OwnClocks(spec.clocks));
        let (uid, gid) = if namespaces.user {
            (identity.uid, identity.gid)
        } else {
            (identity.host_uid, identity.host_gid)
        };
        let become_user = Operation::BecomeUser { uid, gid };
        self.add_if(namespaces.user, become_user.clone());
        self.add_if(
            namespaces.uts,
            Operation::SetHostname(spec.hostname.clone()),
        );
        self.add_if(namespaces.network, Operation::RaiseLoopback);
        // In a user namespace the maker is the owner.
        let owner = (!namespaces.user).then_some((identity.host_uid, identity.host_gid));
        let offer = spec.egress.as_ref().map(|egress| Operation::OfferEgress {
            ways: egress.ways.clone(),
            owner,
        });
        if let Some(root) = root {
            self.add(Operation::IsolateMounts);
            self.operations.append(&mut self.sources);
            self.add(root);
            self.operations.extend(mounts);
            self.files(owner);
            // Last of all that is put there: nothing can cover their paths any more.
            self.operations.extend(offer);
            self.add(Operation::EnterRoot);
            self.add_if(
                spec.filesystem.dev,
                Operation::SealMount {
                    path: "/dev".into(),
                },
            );
            self.add(if spec.filesystem.root.is_none() {
                Operation::SealMount { path: "/".into() }
            } else {
                Operation::SealCopies
            });
        } else {
            self.operations.extend(offer);
        }
        self.add_if(!namespaces.user, become_user);
        // A keyring belongs to whoever joins it.
        self.add_if(spec.protections.new_keyring, Operation::JoinKeyring);
        self.add_if(spec.stdin == Stdin::Terminal, Operation::LeadSession);
        self.add_if(spec.init, Operation::StartApplication);
    }

    fn enter(&mut self) {
        let spec = self.spec;
        let protections = &spec.protections;
        let names: Vec<_> = spec
            .descriptors
            .iter()
            .map(|one| one.name.clone())
            .collect();
        if spec.stdin == Stdin::Terminal {
            // The leader of a session is in the foreground as it is.
            self.add_if(spec.init, Operation::TakeForeground);
        } else {
            self.add_if(protections.new_session, Operation::NewSession);
        }
        self.add_if(protections.no_core_dumps, Operation::LimitCore);
        let bounding = self.drops_bounding();
        self.add_if(
            protections.drop_capabilities,
            Operation::DropCapabilities { bounding },
        );
        self.add_if(spec.init && !spec.namespaces.pid, Operation::DieWithInit);
        self.add_if(
            protections.no_new_privileges,
            Operation::ForbidNewPrivileges,
        );
        self.add(Operation::ConnectStdin(spec.stdin));
        self.add_if(
            !names.is_empty(),
            Operation::PlaceDescriptors {
                names: names.clone(),
            },
        );
        self.add_if(
            protections.close_descriptors,
            Operation::CloseDescriptors {
                first: i32::try_from(names.len()).map_or(i32::MAX, |count| 3 + count),
            },
        );
        self.add(Operation::ResetSignals);
        if let Some(wanted) = &spec.fences.landlock {
            let restriction = Restriction::new(wanted, spec.namespaces.mount, &self.operations);
            self.add(Operation::Restrict(restriction));
        }
        self.add(Operation::ChangeDirectory(spec.working_directory.clone()));
        // Not before the last descriptor is opened: few may be allowed.
        self.add_if(
            !spec.fences.limits.is_empty(),
            Operation::LimitResources(spec.fences.limits.clone()),
        );
        if let Some(calls) = &spec.fences.system_calls {
            self.add(Operation::FilterCalls(calls.clone()));
        }
        self.add(Operation::ReportFences(effect::fences(
            spec,
            self.drops_bounding(),
        )));
        self.add(Operation::Execute {
            command: spec.command.clone(),
            environment: spec.environment.clone(),
            listening: names,
        });
    }

    /// What everything else is put into.
    fn root(&mut self) -> Operation {
        let Some(folder) = &self.spec.filesystem.root else {
            return Operation::MakeRoot {
                size_bytes: ROOT_SIZE,
            };
        };
        let restrictions = Restrictions {
            read_only: !folder.writable,
            no_set_user_id: true,
            no_devices: true,
            no_execution: false,
        };
        let slot = self.open(&folder.source, false, restrictions, folder.owners.as_ref());
        Operation::ShowRoot {
            slot,
            source: folder.source.clone(),
            restrictions,
        }
    }

    /// Everything that is mounted, a parent before what lies in it.
    fn mounts(&mut self) -> Vec<Operation> {
        let spec = self.spec;
        let mut mounts: Vec<(String, Vec<Operation>)> = Vec::new();
        if spec.filesystem.proc {
            let whole = !spec.fences.proc.is_empty();
            let operation = if spec.namespaces.pid {
                Operation::MountProc { whole }
            } else {
                // There are no processes of its own to show: the host's view is what is.
                let restrictions = Restrictions {
                    no_set_user_id: true,
                    no_devices: true,
                    no_execution: true,
                    ..Restrictions::default()
                };
                self.bind("/proc", "/proc", false, restrictions, None)
            };
            let mut operations = vec![operation];
            if whole || !spec.namespaces.pid {
                operations.push(Operation::CoverProc {
                    shown: spec.fences.proc.clone(),
                });
            }
            mounts.push(("/proc".into(), operations));
        }
        if spec.filesystem.dev {
            let operations = self.devices();
            mounts.push(("/dev".into(), operations));
        }
        for bind in &spec.filesystem.binds {
            let restrictions = Restrictions {
                read_only: !bind.writable,
                no_set_user_id: true,
                no_devices: true,
                no_execution: !bind.executable,
            };
            let operation = self.bind(
                &bind.source,
                &bind.destination,
                bind.optional,
                restrictions,
                bind.owners.as_ref(),
            );
            mounts.push((bind.destination.clone(), vec![operation]));
        }
        for temporary in &spec.filesystem.temporary {
            mounts.push((
                temporary.path.clone(),
                vec![Operation::MountTemporary(Memory {
                    path: temporary.path.clone(),
                    size_bytes: temporary.size_bytes,
                    mode: temporary.mode,
                    executable: temporary.executable,
                })],
            ));
        }
        // Stable: of two at one place the later one covers the other.
        mounts.sort_by(|(one, _), (other, _)| one.split('/').cmp(other.split('/')));
        mounts
            .into_iter()
            .flat_map(|(_, operations)| operations)
            .collect()
    }

    fn devices(&mut self) -> Vec<Operation> {
        let mut operations = vec![Operation::MountDevices(Memory {
            path: "/dev".into(),
            size_bytes: DEVICES_SIZE,
            mode: 0o755,
            executable: false,
        })];
        for device in DEVICES {
            let path = format!("/dev/{device}");
            // Read-only forbids to change the file's mode and owner; a device is written to
            // all the same.
            let restrictions = Restrictions {
                read_only: true,
                no_set_user_id: true,
                no_execution: true,
                no_devices: false,
            };
            operations.push(self.bind(&path, &path, false, restrictions, None));
        }
        operations.push(Operation::MountTerminals);
        operations.push(Operation::MountTemporary(Memory {
            path: "/dev/shm".into(),
            size_bytes: SHARED_MEMORY,
            mode: 0o1777,
            executable: true,
        }));
        operations.extend(DEVICE_LINKS.map(|(path, target)| {
            Operation::MakeLink(Link {
                path: path.into(),
                target: target.into(),
            })
        }));
        operations
    }

    fn bind(
        &mut self,
        source: &str,
        destination: &str,
        optional: bool,
        restrictions: Restrictions,
        owners: Option<&Owners>,
    ) -> Operation {
        let slot = self.open(source, optional, restrictions, owners);
        Operation::AttachSource {
            slot,
            source: source.into(),
            destination: destination.into(),
            restrictions,
        }
    }

    /// Has a part of the host's file system opened; returns its place among these.
    fn open(
        &mut self,
        source: &str,
        optional: bool,
        restrictions: Restrictions,
        owners: Option<&Owners>,
    ) -> usize {
        let slot = self.sources.len();
        self.sources.push(Operation::OpenSource(Source {
            slot,
            path: source.into(),
            optional,
            restrictions,
            owners: owners.cloned(),
        }));
        slot
    }

    fn files(&mut self, owner: Option<(u32, u32)>) {
        let spec = self.spec;
        if let Some(hosts) = &spec.filesystem.hosts {
            self.add(Operation::NameHosts(hosts.clone()));
        }
        for file in &spec.filesystem.files {
            self.add(Operation::WriteFile {
                file: file.clone(),
                owner,
            });
        }
        for link in &spec.filesystem.links {
            self.add(Operation::MakeLink(link.clone()));
        }
    }
}
