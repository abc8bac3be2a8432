//! What to do about the failures that happen to people.

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use crate::failure::Problem;
use crate::hosts;
use crate::operation::Operation;

/// What to do about a failed operation, where that is known.
#[must_use]
pub fn hint(operation: &Operation, problem: &Problem) -> Option<String> {
    let hint = match (operation, problem.errno) {
        (Operation::CreateNamespaces(namespaces), Errno::PERM) if !namespaces.user => {
            "without a user namespace only root can make the others".into()
        }
        (Operation::CreateNamespaces(_), Errno::PERM) => {
            "user namespaces are switched off for this user: see the sysctls \
             kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, \
             and whether the launcher runs in a container or under seccomp; or run it as root"
                .into()
        }
        (Operation::CreateNamespaces(_), Errno::NOSPC | Errno::USERS) => {
            "there are too many namespaces: see the sysctls user.max_user_namespaces and its \
             neighbours"
                .into()
        }
        (Operation::CreateNamespaces(_), Errno::NOSYS) => {
            "the kernel is older than Linux 5.3, or seccomp refuses clone3(2)".into()
        }
        (Operation::MapIdentity { .. }, Errno::PERM) => format!(
            "an ordinary user can only map their own ids, which are {} and {}: use these, or run \
             it as root",
            geteuid().as_raw(),
            getegid().as_raw()
        ),
        (Operation::MapIdentity { .. }, Errno::INVAL) => {
            "the launcher's own user namespace lacks some of these ids: see /proc/self/uid_map"
                .into()
        }
        (Operation::OwnClocks(_), Errno::INVAL) => {
            "the kernel has no time namespaces (Linux 5.6, CONFIG_TIME_NS): do without one".into()
        }
        (Operation::OwnClocks(_), Errno::RANGE) => {
            "a clock would show less than 0: no offset may go back before the machine's start"
                .into()
        }
        (Operation::LeadSession, Errno::NOTTY | Errno::PERM) => {
            "standard input must be a terminal that no session has yet".into()
        }
        (Operation::TakeDescriptors { .. }, Errno::BADF) => {
            "the descriptor was not inherited: its launcher must leave it open under this number"
                .into()
        }
        (Operation::TakeDescriptors { .. }, Errno::NOTSOCK) => {
            "only sockets are handed over: bind files and folders instead".into()
        }
        (Operation::OpenSource(source), Errno::NOENT | Errno::NOTDIR) => format!(
            "make {}, correct the path, or mark the bind as optional",
            source.path
        ),
        (Operation::OpenSource(source), Errno::INVAL | Errno::OPNOTSUPP)
            if source.owners.is_some() =>
        {
            "its file system, or one that is mounted below it, knows no id-mapped mounts: give the \
             files themselves to the application's user"
                .into()
        }
        (Operation::OpenSource(source), Errno::PERM) if source.owners.is_some() => {
            "id-mapped mounts need root".into()
        }
        (Operation::OpenSource(_), Errno::ACCESS) => {
            "the launcher's user may not reach it: check the modes of the folders above it".into()
        }
        (mount, Errno::NOTDIR | Errno::ISDIR | Errno::LOOP | Errno::EXIST)
            if needs_place(mount) =>
        {
            "what is at that place in the cell, or above it, is of another kind, or a link that \
             leads nowhere: look at it in what the cell sees"
                .into()
        }
        (mount, Errno::ACCESS) if needs_place(mount) => {
            "the application's user may not enter or list a folder on the way there: check the \
             modes of what the cell sees"
                .into()
        }
        (Operation::ShowRoot { .. }, Errno::NOTDIR) => "a root must be a folder".into(),
        (Operation::MountProc { .. }, Errno::PERM) => {
            "part of the host's /proc is covered, as containers do it: the kernel lets no user \
             namespace uncover it"
                .into()
        }
        (Operation::LimitResources(_), Errno::PERM) => {
            "the launcher itself may not have so much: raise its own limit (ulimit -H, LimitNOFILE= \
             of systemd.exec(5)), or ask for less"
                .into()
        }
        (Operation::ChangeDirectory(_), Errno::NOENT) => {
            "the folder cannot be seen in the cell: bind it".into()
        }
        (Operation::ChangeDirectory(_), Errno::ACCESS) => {
            "the application's user may not enter it: check the modes of the folder and of those \
             above it"
                .into()
        }
        (Operation::BecomeUser { .. } | Operation::DropCapabilities { .. }, Errno::PERM) => {
            "that needs a user namespace of the cell's own, or root".into()
        }
        (Operation::OfferEgress { .. }, Errno::ADDRINUSE) => {
            "something is there already, and is not replaced: choose another path for the socket, \
             in a folder of the cell's own such as /run"
                .into()
        }
        (Operation::OfferEgress { .. }, Errno::NAMETOOLONG) => {
            "the name of a socket has at most 107 bytes, and a zero after them (unix(7))".into()
        }
        (Operation::NameHosts(_), Errno::FBIG) => format!(
            "at most {} bytes of it are read: shorten it",
            hosts::LIMIT
        ),
        (Operation::NameHosts(_), Errno::ACCESS) => {
            "everybody must be able to read it: chmod 644".into()
        }
        (Operation::WriteFile { .. } | Operation::MakeLink(_), Errno::EXIST) => {
            "something is there already: it stands twice, or a bind shows it".into()
        }
        (Operation::SealMount { .. } | Operation::OpenSource(_), Errno::NOSYS) => {
            "the kernel is older than Linux 5.12".into()
        }
        _ => return None,
    };
    Some(hint)
}

/// Whether it puts something at a place in the cell.
fn needs_place(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::AttachSource { .. }
            | Operation::MountTemporary(_)
            | Operation::MountDevices(_)
            | Operation::MountTerminals
            | Operation::MountProc { .. }
            | Operation::NameHosts(_)
            | Operation::OfferEgress { .. }
    )
}
