//! Serves connections that cloister-door hands off: sends back what the client sends, its
//! hello first, each connection in a thread of its own.
//!
//!     cargo run -- PATH
//!
//! The protocol is docs/handoff.md. A real server does TLS where this one copies.

use std::env;
use std::fs;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, recvmsg, socket_with,
};

/// No message is longer.
const MESSAGE_LIMIT: usize = 4096;

/// No message brings more connections.
const MOST: usize = 16;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the door says of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Handoff {
    /// The name that the client asked for.
    server_name: Option<String>,
    /// The client, where a PROXY header named it; otherwise the socket tells.
    client: Option<SocketAddr>,
}

/// Reads a message, which has one header for each connection; `None` for one that is not of
/// this protocol.
fn parse_all(mut message: &[u8]) -> Option<Vec<Handoff>> {
    let mut all = Vec::new();
    while !message.is_empty() {
        let (handoff, rest) = parse(message)?;
        all.push(handoff);
        message = rest;
    }
    Some(all)
}

/// Reads one connection's header; also what follows it.
fn parse(message: &[u8]) -> Option<(Handoff, &[u8])> {
    let rest = message.strip_prefix(SIGNATURE)?;
    let (&[0x20 | 0x21, transport, high, low], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (header, rest) = rest.split_at_checked(u16::from_be_bytes([high, low]).into())?;
    let (addresses, mut values) = header.split_at_checked(match transport {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return None,
    })?;
    let mut handoff = Handoff {
        client: client(addresses),
        ..Handoff::default()
    };
    while !values.is_empty() {
        let (&[kind, high, low], after) = values.split_first_chunk()?;
        let (value, after) = after.split_at_checked(u16::from_be_bytes([high, low]).into())?;
        if kind == 0x02 {
            handoff.server_name = Some(String::from_utf8(value.to_vec()).ok()?);
        }
        values = after;
    }
    Some((handoff, rest))
}

fn client(block: &[u8]) -> Option<SocketAddr> {
    let (address, port): (IpAddr, _) = match block.len() {
        12 => (Ipv4Addr::from(*block.first_chunk::<4>()?).into(), 8),
        36 => (Ipv6Addr::from(*block.first_chunk::<16>()?).into(), 32),
        _ => return None,
    };
    let port = u16::from_be_bytes([block[port], block[port + 1]]);
    Some(SocketAddr::new(address, port))
}

/// A socket that the door can hand connections to.
fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let _ = fs::remove_file(path);
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    // The door's user must be able to write to it: the folder keeps everybody else out.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    listen(&listener, 4096)?;
    Ok(listener)
}

/// The connections that one sender brings; none where one of them is wrong.
fn receive(control: impl AsFd) -> io::Result<Vec<(OwnedFd, Handoff)>> {
    let mut bytes = [0; MESSAGE_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(control, slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    let cut = received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let said = parse_all(&bytes[..received.bytes])
        .filter(|said| !cut && said.len() == descriptors.len())
        .unwrap_or_default();
    Ok(descriptors.into_iter().zip(said).collect())
}

fn serve(client: OwnedFd, handoff: &Handoff) -> io::Result<()> {
    // It comes non-blocking.
    rustix::io::ioctl_fionbio(&client, false)?;
    let mut client = TcpStream::from(client);
    let address = match handoff.client {
        Some(address) => address,
        None => client.peer_addr()?,
    };
    let name = handoff.server_name.as_deref().unwrap_or("-");
    writeln!(io::stdout(), "{address} {name}")?;
    io::copy(&mut client.try_clone()?, &mut client)?;
    client.shutdown(Shutdown::Write)
}

fn main() -> io::Result<()> {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: handoff-echo PATH");
        std::process::exit(2);
    };
    let listener = listen_at(Path::new(&path))?;
    loop {
        let Ok(control) = accept_with(&listener, SocketFlags::CLOEXEC) else {
            continue;
        };
        thread::spawn(move || {
            let received = receive(&control).unwrap_or_default();
            drop(control);
            for (client, handoff) in received {
                thread::spawn(move || {
                    if let Err(error) = serve(client, &handoff) {
                        eprintln!("a connection: {error}");
                    }
                });
            }
        });
    }
}
