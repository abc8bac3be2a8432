//! `cloister-door`: see the library of the same name.

fn main() -> std::process::ExitCode {
    cloister_door::main()
}
