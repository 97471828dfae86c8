//! What the benches that are programs of their own share with the program `rlaif`.

use std::error::Error;

/// That of the program `rlaif`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;
