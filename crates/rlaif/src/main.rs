//! The command line `rlaif`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
