//! Raw system calls behind safe functions: the only crate with `unsafe` code.
//!
//! Architecture invariant: a function here wraps one kernel facility, holds no policy, and
//! returns the kernel's error number as it is. Each `unsafe` block has a SAFETY line.

pub mod allocator;
pub mod capabilities;
pub mod clone;
pub mod credentials;
pub mod descriptors;
pub mod idmap;
pub mod keyring;
pub mod mount;
pub mod network;
pub mod process;
pub mod seccomp;
pub mod signals;
pub mod sockets;
pub mod threads;
