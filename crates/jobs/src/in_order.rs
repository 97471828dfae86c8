//! Chunks that are worked on at a time and come out in their order.

use crate::{Error, Flow};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Chunks that may wait for one before them, as a multiple of those under way: one that takes long holds the others up
/// only when so many are done.
const AHEAD: usize = 8;

/// The longest time between two looks at the clock.
const TICK: Duration = Duration::from_millis(500);

/// What is done with finished chunks.
pub(crate) trait Sink<D> {
    /// Takes the next chunk in the order of the input.
    fn take(&mut self, done: D) -> Result<(), Error>;

    /// Is called now and then, whether or not anything is done.
    fn tick(&mut self) -> Result<(), Error>;
}

/// Works on `chunks` and hands what comes out to `sink` in order.
///
/// At the first failure `stop` is called, nothing more is begun, and what is under way is waited for; what stands in
/// order before the failure is still handed out.
pub(crate) fn in_order<C: Send, D: Send>(
    chunks: impl Iterator<Item = Result<C, Error>>,
    flow: &Flow,
    work: impl Fn(C) -> Result<D, Error> + Sync,
    stop: impl Fn(),
    sink: &mut impl Sink<D>,
) -> Result<(), Error> {
    let (todo, waiting) = channel::<(u64, C)>();
    let (finished, results) = channel();
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        for _ in 0..flow.in_flight {
            let finished = finished.clone();
            let (waiting, work) = (&waiting, &work);
            scope.spawn(move || worker(waiting, work, &finished));
        }
        drop(finished);
        let line = Line { chunks: chunks.fuse(), todo, results, flow, stop };
        line.run(sink)
    })
}

type Outcome<D> = thread::Result<Result<D, Error>>;

/// Takes one chunk after another until there are no more.
fn worker<C, D>(
    waiting: &Mutex<Receiver<(u64, C)>>,
    work: &impl Fn(C) -> Result<D, Error>,
    finished: &Sender<(u64, Outcome<D>)>,
) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, chunk)) = next else { break };
        // A panic that nobody hears of would leave the others waiting for this chunk.
        let outcome = catch_unwind(AssertUnwindSafe(|| work(chunk)));
        if finished.send((number, outcome)).is_err() {
            break;
        }
    }
}

/// Hands chunks to the workers and puts what they give in order.
struct Line<'a, I, C, D, S> {
    chunks: std::iter::Fuse<I>,
    todo: Sender<(u64, C)>,
    results: Receiver<(u64, Outcome<D>)>,
    flow: &'a Flow,
    stop: S,
}

impl<C, D, I: Iterator<Item = Result<C, Error>>, S: Fn()> Line<'_, I, C, D, S> {
    fn run(mut self, sink: &mut impl Sink<D>) -> Result<(), Error> {
        let (mut begun, mut next) = (0_u64, 0_u64);
        let mut done: BTreeMap<u64, D> = BTreeMap::new();
        let mut running = 0;
        let mut failure = None;
        loop {
            while failure.is_none() && running < self.flow.in_flight && done.len() < self.ahead() {
                match self.chunks.next() {
                    Some(Ok(chunk)) => {
                        // A worker ends only when this sender is gone.
                        if self.todo.send((begun, chunk)).is_ok() {
                            (begun, running) = (begun + 1, running + 1);
                        }
                    }
                    Some(Err(error)) => self.fail(&mut failure, error),
                    None => break,
                }
            }
            if running == 0 {
                break;
            }
            match self.results.recv_timeout(TICK) {
                Ok((number, outcome)) => {
                    running -= 1;
                    match outcome.unwrap_or_else(|panic| resume_unwind(panic)) {
                        Ok(chunk) => drop(done.insert(number, chunk)),
                        Err(error) => self.fail(&mut failure, error),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let step = hand_out(&mut done, &mut next, sink).and_then(|()| sink.tick());
            if let Err(error) = step {
                self.fail(&mut failure, error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn ahead(&self) -> usize {
        AHEAD.saturating_mul(self.flow.in_flight)
    }

    fn fail(&self, failure: &mut Option<Error>, error: Error) {
        (self.stop)();
        failure.get_or_insert(error);
    }
}

/// Hands out what stands at the front.
fn hand_out<D>(
    done: &mut BTreeMap<u64, D>,
    next: &mut u64,
    sink: &mut impl Sink<D>,
) -> Result<(), Error> {
    while let Some(chunk) = done.remove(next) {
        sink.take(chunk)?;
        *next += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Kept {
        taken: Vec<u64>,
        fails_at: Option<usize>,
    }

    impl Sink<u64> for Kept {
        fn take(&mut self, done: u64) -> Result<(), Error> {
            if self.fails_at == Some(self.taken.len()) {
                return Err(wrong("the sink"));
            }
            self.taken.push(done);
            Ok(())
        }

        fn tick(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    fn wrong(what: &str) -> Error {
        Error::Shard { found: what.to_owned() }
    }

    fn flow(in_flight: usize) -> Flow {
        Flow { chunk: 1, in_flight }
    }

    #[test]
    fn what_takes_long_holds_no_other_up() {
        let begun = AtomicUsize::new(0);
        let mut sink = Kept::default();
        let work = |number: u64| {
            begun.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                // The first chunk waits until the other three workers have done all that may be done before it.
                while begun.load(Ordering::SeqCst) < 20 {
                    thread::yield_now();
                }
            }
            Ok(number)
        };
        in_order((0..50).map(Ok), &flow(4), work, || {}, &mut sink).unwrap();
        assert_eq!(sink.taken, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn memory_is_bounded_by_what_may_wait() {
        let begun = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let mut sink = Kept::default();
        let work = |number: u64| {
            let now = begun.fetch_add(1, Ordering::SeqCst) + 1;
            if number == 0 {
                thread::sleep(Duration::from_millis(100));
                most.store(begun.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            Ok(now as u64)
        };
        in_order((0..1000).map(Ok), &flow(2), work, || {}, &mut sink).unwrap();
        let most = most.load(Ordering::SeqCst);
        assert!((2..=2 * AHEAD + 2).contains(&most), "{most}");
    }

    #[test]
    fn what_stands_before_a_failure_is_handed_out() {
        let stopped = AtomicUsize::new(0);
        let mut sink = Kept::default();
        let work = |number: u64| if number == 7 { Err(wrong("seven")) } else { Ok(number) };
        let stop = || {
            stopped.fetch_add(1, Ordering::SeqCst);
        };
        let error = in_order((0..100).map(Ok), &flow(3), work, stop, &mut sink).unwrap_err();
        assert!(error.to_string().contains("seven"));
        assert_eq!(sink.taken, (0..7).collect::<Vec<_>>());
        assert_eq!(stopped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failure_of_input_or_sink_ends_the_work() {
        let chunks =
            (0..9).map(|number| if number == 4 { Err(wrong("row 4")) } else { Ok(number) });
        let mut sink = Kept::default();
        let error = in_order(chunks, &flow(2), Ok, || {}, &mut sink).unwrap_err();
        assert!(error.to_string().contains("row 4"));
        assert_eq!(sink.taken, [0, 1, 2, 3]);

        let mut sink = Kept { fails_at: Some(3), ..Kept::default() };
        let error = in_order((0..1000).map(Ok), &flow(2), Ok, || {}, &mut sink).unwrap_err();
        assert!(error.to_string().contains("the sink"));
        assert_eq!(sink.taken, [0, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "a bug")]
    fn a_panic_is_passed_on() {
        let work = |number: u64| if number == 3 { panic!("a bug") } else { Ok(number) };
        let _ = in_order((0..9).map(Ok), &flow(2), work, || {}, &mut Kept::default());
    }
}
