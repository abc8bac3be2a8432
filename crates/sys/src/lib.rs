//! Raw system calls behind safe functions: the only crate with `unsafe` code.
//!
//! Architecture invariant: a function here wraps one kernel facility, holds no policy, and
//! returns the kernel's error number as it is. Each `unsafe` block has a SAFETY line.

pub mod allocator;
pub mod allow_list;
pub mod capabilities;
pub mod clocks;
pub mod clone;
pub mod credentials;
pub mod descriptors;
pub mod epoll;
pub mod exponential;
pub mod idmap;
pub mod keyring;
pub mod landlock;
pub mod mount;
pub mod network;
pub mod process;
pub mod quota;
mod returned;
pub mod seccomp;
pub mod signals;
pub mod sockets;
pub mod system_calls;
pub mod terminal;
pub mod threads;
pub mod vsock;
