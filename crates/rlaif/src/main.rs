//! The command line `rlaif`.

mod allocator;
mod cli;

fn main() -> std::process::ExitCode {
    allocator::keep_free_memory();
    cli::main()
}
