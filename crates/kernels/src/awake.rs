//! Threads that look for work a little longer before they sleep.
//!
//! A pass through a model is many short operations with less than a tenth of a millisecond between them, and in that time
//! threads that find nothing to do go to sleep: drawing a token for 16 rows woke one 60 times, which takes about as long as
//! such an operation. Threads that stay awake over the gaps are there at once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a thread looks for work after the last product: longer than it is to the next one of a pass, and not so long that it
/// would count.
const PATIENCE: Duration = Duration::from_micros(500);

/// How long it does so at most, whatever it finds, before it has to be asked again. It may have begun while it waits for another
/// thread, and goes on with what it waits for no sooner.
const LONGEST: Duration = Duration::from_millis(10);

static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When the last product was, in microseconds.
static LAST_PRODUCT: AtomicU64 = AtomicU64::new(0);

/// Threads that are awake or have been asked to be, so that none is asked twice.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Keeps so many threads of the pool awake for a while, the caller among them. The others take whatever work there is, and give
/// way to other programs.
///
/// To be called before the work of `threads` threads, not from within it.
pub(crate) fn keep_awake(threads: usize) {
    if threads < 2 {
        return;
    }
    LAST_PRODUCT.store(micros(BEGIN.elapsed()), Ordering::Relaxed);
    let others = threads - 1;
    let more = |asked| (asked < others).then_some(others);
    let Ok(asked) = ASKED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) else { return };
    let caller = rayon::current_thread_index();
    for _ in asked..others {
        rayon::spawn(move || {
            if rayon::current_thread_index() != caller {
                work_while(stays_awake);
            }
            ASKED.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Takes whatever work there is; `stays` is given when it began and what time it is.
fn work_while(stays: impl Fn(Duration, Duration) -> bool) {
    let begin = BEGIN.elapsed();
    while stays(begin, BEGIN.elapsed()) {
        if rayon::yield_now() != Some(rayon::Yield::Executed) {
            std::thread::yield_now();
        }
    }
}

fn stays_awake(begin: Duration, now: Duration) -> bool {
    is_patient(begin, now, Duration::from_micros(LAST_PRODUCT.load(Ordering::Relaxed)))
}

fn is_patient(begin: Duration, now: Duration, last_product: Duration) -> bool {
    now < last_product + PATIENCE && now < begin + LONGEST
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[test]
    fn patience_ends() {
        let at = Duration::from_micros;
        assert!(is_patient(at(0), at(499), at(0)));
        assert!(!is_patient(at(0), at(500), at(0)));
        assert!(is_patient(at(0), at(9_999), at(9_900)));
        assert!(!is_patient(at(0), at(10_000), at(9_900)));
        // A product may come between a look at the clock and one at its time.
        assert!(is_patient(at(0), at(5), at(6)));
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
            work_while(|begin, now| now < begin + Duration::from_millis(200));
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
