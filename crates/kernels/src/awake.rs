//! Threads that look for work a little longer before they sleep.
//!
//! A pass through a model is many short operations with less than a tenth of a millisecond between them, and in that time
//! threads that find nothing to do go to sleep: drawing a token for 16 rows woke one 60 times, which takes about as long as
//! such an operation. Threads that stay awake over the gaps are there at once.

use rayon::Yield;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a thread stays awake without work: longer than it is between two products of a pass, shorter than anybody would
/// notice that it computes on.
const PATIENCE: Duration = Duration::from_micros(500);

/// Threads that are kept awake, so that none is twice.
static AWAKE: AtomicUsize = AtomicUsize::new(0);

/// Keeps the other threads of the pool awake until each has found no work for a while. They take whatever work there is, and
/// give way to other programs.
pub(crate) fn keep_awake() {
    let caller = rayon::current_thread_index();
    let others = rayon::current_num_threads() - usize::from(caller.is_some());
    let begun = AWAKE.compare_exchange(0, others, Ordering::AcqRel, Ordering::Relaxed);
    if others == 0 || begun.is_err() {
        return;
    }
    rayon::spawn_broadcast(move |thread| {
        if Some(thread.index()) != caller {
            work_until_idle();
            AWAKE.fetch_sub(1, Ordering::AcqRel);
        }
    });
}

fn work_until_idle() {
    let mut idle_since = Instant::now();
    // Always ends: who waits for what a thread below this one on the stack computes waits no longer than that.
    while idle_since.elapsed() < PATIENCE {
        if rayon::yield_now() == Some(Yield::Executed) {
            idle_since = Instant::now();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn who_is_awake_works_and_lets_the_pool_go() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for _ in 0..50 {
            let all = Barrier::new(3);
            pool.install(|| {
                keep_awake();
                // Needs every thread at the same time.
                rayon::scope(|scope| (0..3).for_each(|_| scope.spawn(|_| drop(all.wait()))));
            });
        }
        // Waits for the threads to end.
        drop(pool);
    }
}
