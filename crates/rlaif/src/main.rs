//! The command line `rlaif`.

mod cli;

/// Tensors of ever other sizes come and go: the allocators of most systems keep what they leave, this one uses it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
