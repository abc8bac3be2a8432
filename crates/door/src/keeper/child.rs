//! One door as a process of the keeper: its start, and its end of the line.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use cloister_sys::clone::{NewNamespaces, Process, clone_process};
use cloister_sys::process::{
    close_from_on_exec, execute, exit_now, place_descriptors, reset_signals,
};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

use crate::inherited::{FIRST, Passed};
use crate::notify::DESCRIPTOR;

/// The longest message that is read; sd_notify(3) itself has no bound, systemd reads 4096.
const MESSAGE: usize = 4096;

/// What the keeper's environment says about the keeper itself, and not about its doors.
const OWN: [&str; 8] = [
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "FDSTORE",
    DESCRIPTOR,
];

/// Everything that a new door needs. Owns the listening sockets for the keeper's whole life.
pub struct Nursery {
    program: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    search: Vec<u8>,
    listeners: Vec<OwnedFd>,
}

impl Nursery {
    /// Prepares the starts. `program` is looked up as execvp(3) does, at each start anew;
    /// `watchdog` is how often a door is to say that it is alive.
    ///
    /// # Errors
    ///
    /// An argument that no program can be given, for a person.
    pub fn new(
        program: CString,
        command: &[OsString],
        passed: Vec<Passed>,
        watchdog: Option<Duration>,
    ) -> Result<Self, String> {
        let text = |text: &OsStr| {
            CString::new(text.as_bytes()).map_err(|_| format!("{text:?} contains a NUL byte"))
        };
        let mut arguments = vec![program.clone()];
        for argument in command {
            arguments.push(text(argument)?);
        }
        let mut environment = Vec::new();
        for (name, value) in std::env::vars_os() {
            if !OWN.iter().any(|own| name == *own) {
                let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
                environment.push(text(&OsString::from_vec(entry))?);
            }
        }
        let names: Vec<_> = passed.iter().map(|one| one.name.as_str()).collect();
        let number = passed.len();
        let place = FIRST + i32::try_from(number).unwrap_or(0);
        let mut own = vec![
            format!("LISTEN_FDS={number}"),
            format!("LISTEN_FDNAMES={}", names.join(":")),
            format!("{DESCRIPTOR}={place}"),
        ];
        if let Some(half) = watchdog {
            own.push(format!("WATCHDOG_USEC={}", half.as_micros() * 2));
        }
        for entry in &own {
            environment.push(text(OsStr::new(entry))?);
        }
        let search = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        Ok(Self {
            program,
            arguments,
            environment,
            search: search.into_vec(),
            listeners: passed.into_iter().map(|one| one.descriptor).collect(),
        })
    }

    /// Starts one door, which has the sockets as `LISTEN_FDS`. To be called in a process
    /// with one thread.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2) and clone3(2). A program that cannot be executed shows as a
    /// child that ends with status 127.
    pub fn start(&self) -> io::Result<Child> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        match clone_process(NewNamespaces::default())? {
            Process::Child => {
                let error = self.become_door(&theirs);
                eprintln!("cloister-door: keep: {:?}: {error}", self.program);
                exit_now(127)
            }
            Process::Parent(process) => Ok(Child {
                process: process.as_raw_nonzero().get().cast_unsigned(),
                socket: Some(ours),
            }),
        }
    }

    fn become_door(&self, socket: &OwnedFd) -> io::Error {
        reset_signals();
        let mut descriptors: Vec<BorrowedFd<'_>> = self.listeners.iter().map(AsFd::as_fd).collect();
        descriptors.push(socket.as_fd());
        let after = FIRST + i32::try_from(descriptors.len()).unwrap_or(0);
        let placed = place_descriptors(&descriptors, FIRST);
        if let Err(error) = placed.and_then(|()| close_from_on_exec(after)) {
            return error;
        }
        let mut environment = self.environment.clone();
        // sd_listen_fds(3): the process that is meant, which only this one knows.
        match CString::new(format!("LISTEN_PID={}", std::process::id())) {
            Ok(entry) => environment.push(entry),
            Err(error) => return error.into(),
        }
        execute(&self.program, &self.arguments, &environment, &self.search)
    }
}

/// A door that has not been reaped.
pub struct Child {
    /// Its process id.
    pub process: u32,
    /// Where it speaks; `None` once it has hung up.
    socket: Option<OwnedFd>,
}

impl Child {
    /// For polling.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// What it has said, without blocking; what is no text is left out.
    pub fn receive(&mut self) -> Option<String> {
        let mut bytes = [0; MESSAGE];
        let socket = self.socket.as_ref()?;
        match recv(socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                self.socket = None;
                None
            }
            Ok((count, _)) => {
                Some(String::from_utf8_lossy(&bytes[..count.min(MESSAGE)]).into_owned())
            }
            Err(_) => None,
        }
    }
}
