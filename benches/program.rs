//! What the benches that are programs of their own share with the program `rlaif`.

use std::error::Error;

/// That of the program `rlaif`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Makes the main thread one of those that compute.
pub(crate) fn compute_here() -> Outcome<()> {
    Ok(rayon::ThreadPoolBuilder::new().use_current_thread().build_global()?)
}
