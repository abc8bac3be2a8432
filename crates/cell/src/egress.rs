//! The application's ways out: sockets that listen inside and are served outside.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};

use cloister_proto::messages::cell::WayOut;
use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat, fchmod};
use rustix::io::Errno;
use rustix::net::addr::SocketAddrArg;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, bind, listen, sendmsg, socket_with,
};
use rustix::process::fchdir;

use crate::failure::{AtPath, Problem};
use crate::root::Root;

/// `SCM_MAX_FD`.
const MOST: usize = 253;
/// As the configuration's default for listeners; the kernel cuts it to its own bound.
const BACKLOG: i32 = 4096;

/// Listens in this process's network namespace and below `root`, and sends the sockets to
/// `receiver`. A socket stays where it was made, whoever accepts from it. Does not block, and
/// may change the working directory.
///
/// # Errors
///
/// The place that cannot be listened on, `EADDRINUSE` for a path where anything is; `EPIPE`
/// where nobody is there to receive.
pub fn offer(
    receiver: &OwnedFd,
    ways: &[WayOut],
    mut root: Option<&mut Root>,
    owner: Option<(u32, u32)>,
) -> Result<(), Problem> {
    let mut sockets = Vec::with_capacity(ways.len());
    for way in ways {
        sockets.push(match way {
            WayOut::Loopback { host, port } => {
                let place = SocketAddrV4::new(*host, *port);
                let socket = make(AddressFamily::INET)?;
                listening(socket, &place).at(&place.to_string())?
            }
            WayOut::Socket { path } => {
                let root = root.as_deref_mut().ok_or(Errno::INVAL)?;
                at_path(root, path, owner).map_err(|problem| problem.at(path))?
            }
        });
    }
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::TOOMANYREFS.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(receiver, &[IoSlice::new(&[0])], &mut control, flags)?;
    Ok(())
}

fn make(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(family, SocketType::STREAM, flags, None)
}

fn listening(socket: OwnedFd, place: &impl SocketAddrArg) -> rustix::io::Result<OwnedFd> {
    bind(&socket, place)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// The folder is found inside the root and held by its descriptor; in it bind(2) makes the
/// name, or fails where it is anything already, a link too. So there is no moment at which it
/// could be exchanged.
fn at_path(root: &mut Root, path: &str, owner: Option<(u32, u32)>) -> Result<OwnedFd, Problem> {
    let (folder, name) = root.parent(path).map_err(|problem| Problem {
        hint: match problem.errno {
            Errno::ROFS => Some(
                "a socket cannot lie in a part of the host's file system that the cell sees: take \
                 a folder of the cell's own, such as /run"
                    .into(),
            ),
            _ => problem.hint,
        },
        ..problem
    })?;
    let socket = make(AddressFamily::UNIX)?;
    // Its file gets the socket's own mode, from the first moment (unix_bind_bsd() in
    // net/unix/af_unix.c).
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    fchdir(&folder)?;
    let socket = listening(socket, &SocketAddrUnix::new(name)?)?;
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(
            &folder,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(socket)
}
