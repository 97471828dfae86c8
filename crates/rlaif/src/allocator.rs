//! The allocator of the program.

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// Tensors of ever other sizes come and go: the allocators of most systems keep what they leave, this one uses it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After how many milliseconds free memory goes back to the system; `mi_option_purge_delay` of `mimalloc.h`.
const PURGE_DELAY: mi_option_t = 15;

/// Free memory stays with the process: the next tensors take it, and what had gone back to the system would have to be
/// cleared again, a tenth of the time of a step of training.
///
/// To be called before the process has a second thread.
#[allow(unsafe_code, reason = "mimalloc has no other way to set an option but its environment")]
pub(crate) fn keep_free_memory() {
    // SAFETY: it sets a number that no other thread reads or sets, since there is none yet; below 0 is never.
    unsafe { mi_option_set(PURGE_DELAY, -1) }
}
