//! What the benches that are programs of their own share with the program `rlaif`.

#[path = "../crates/rlaif/src/allocator.rs"]
mod allocator;

use std::error::Error;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// As the program `rlaif` begins: memory stays with the process, and the main thread is one of those that compute.
pub(crate) fn compute_here() -> Outcome<()> {
    allocator::keep_free_memory();
    Ok(rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?)
}
