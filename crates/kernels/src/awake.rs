//! Threads that look for work a little longer before they sleep.
//!
//! A pass through a model is many short operations with less than a tenth of a millisecond between them, and in that time
//! threads that find nothing to do go to sleep: drawing a token for 16 rows woke one 60 times, which takes about as long as
//! such an operation. Threads that stay awake over the gaps are there at once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a thread stays awake, whether it finds work or not: longer than it is between two products of a pass, and not so
/// long that it would count. It is bounded because it must be: such a thread may have begun while it waits for another, and goes
/// on with what it waits for no sooner.
const STRETCH: Duration = Duration::from_millis(1);

static STRETCHES: Stretches = Stretches { end: AtomicU64::new(0) };

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Keeps so many threads of the pool awake for a while, the caller among them. The others take whatever work there is, and give
/// way to other programs.
///
/// To be called before the work of `threads` threads, not from within it.
pub(crate) fn keep_awake(threads: usize) {
    if threads < 2 || !STRETCHES.begin(BEGIN.elapsed()) {
        return;
    }
    let caller = rayon::current_thread_index();
    for _ in 1..threads {
        rayon::spawn(move || {
            if rayon::current_thread_index() != caller {
                work_for(STRETCH);
            }
        });
    }
}

/// Takes whatever work there is.
fn work_for(stretch: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < stretch {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            std::thread::yield_now();
        }
    }
}

/// Stretches of time, one behind the other.
#[derive(Debug)]
struct Stretches {
    /// Of the last one, in microseconds.
    end: AtomicU64,
}

impl Stretches {
    /// Begins another one if the last one is over; of several callers one does.
    fn begin(&self, now: Duration) -> bool {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let end = self.end.load(Ordering::Relaxed);
        let next = micros(now + STRETCH);
        micros(now) >= end
            && self.end.compare_exchange(end, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, Barrier};

    #[test]
    fn one_stretch_at_a_time() {
        let stretches = Stretches { end: AtomicU64::new(0) };
        let found = [0, 999, 1000, 1000, 1999, 5000, 5001].map(Duration::from_micros);
        let found = found.map(|now| stretches.begin(now));
        assert_eq!(found, [true, false, true, false, false, true, false]);
    }

    fn add_one(count: &AtomicUsize) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    /// A pool of two threads, and how many of them have ended.
    fn pool() -> (rayon::ThreadPool, Arc<AtomicUsize>) {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(2).exit_handler(move |_| add_one(&count));
        (pool.build().unwrap(), ended)
    }

    #[test]
    fn who_is_awake_works_for_others() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        pool.install(|| {
            for _ in 0..10 {
                let done = Arc::clone(&done);
                rayon::spawn(move || add_one(&done));
            }
            work_for(Duration::from_millis(200));
            // There is no other thread to have done it.
            assert_eq!(done.load(Ordering::SeqCst), 10);
        });
    }

    #[test]
    fn nobody_stays_awake_for_long() {
        let (pool, ended) = pool();
        for _ in 0..20 {
            let together = Barrier::new(2);
            pool.install(|| {
                keep_awake(2);
                rayon::join(|| together.wait(), || together.wait());
            });
        }
        drop(pool);
        let begin = Instant::now();
        while ended.load(Ordering::SeqCst) < 2 {
            assert!(begin.elapsed() < Duration::from_mins(1), "the threads end");
            std::thread::yield_now();
        }
    }
}
