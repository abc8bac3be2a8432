//! `cloister-cell`: see the library of the same name.

/// What is freed is erased: no secret of a specification stays in the processes that stay.
#[global_allocator]
static ALLOCATOR: cloister_cell::ZeroingAllocator = cloister_cell::ZeroingAllocator;

fn main() -> std::process::ExitCode {
    cloister_cell::main()
}
