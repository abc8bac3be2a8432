//! Who the process is: credentials(7).

use std::io;

use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal,
};
use rustix::thread::{
    Gid, Uid, set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// Gives the calling thread this user and group, real, effective and saved, and no
/// supplementary group. Permitted capabilities are kept, effective ones are lost: see
/// [`crate::capabilities`].
///
/// Only the calling thread changes: call it before there are others.
///
/// # Errors
///
/// `EPERM` without CAP_SETUID and CAP_SETGID.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_keep_capabilities(true)?;
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// No execve(2) gives the calling thread, or a thread that it starts, more than it has
/// (prctl(2) `PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
///
/// Those of prctl(2).
pub fn set_no_new_privileges() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}

/// Leaves no core dump, and nobody but root looks into the process by ptrace(2) or its
/// files in /proc (prctl(2) `PR_SET_DUMPABLE`).
///
/// # Errors
///
/// Those of prctl(2).
pub fn forbid_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Has the kernel kill the process when its parent's thread that made it ends (prctl(2)
/// `PR_SET_PDEATHSIG`). A change of user clears it: call it after [`become_user`].
///
/// # Errors
///
/// Those of prctl(2).
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}
