//! Raw system calls behind safe functions: the only crate with `unsafe` code.
//!
//! Architecture invariant: a function here wraps one kernel facility, holds no policy, and
//! returns the kernel's error number as it is. Each `unsafe` block has a SAFETY line.

pub mod descriptors;
pub mod signals;
pub mod sockets;
pub mod threads;
