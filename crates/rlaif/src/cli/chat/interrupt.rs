//! Ctrl-C: it stops a reply and not the program.

use std::process::exit;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a shell reports for a program that an interrupt has ended.
const INTERRUPTED: i32 = 130;

/// Nothing is drawn.
const IDLE: u8 = 0;
/// A reply is drawn.
const DRAWING: u8 = 1;
/// The reply that is drawn is not wanted any more.
const REQUESTED: u8 = 2;

/// How long a reply may take to stop before another interrupt ends the program: a long prompt is read in one go, and the key
/// is soon pressed twice.
const PATIENCE: Duration = Duration::from_secs(5);

fn lock(since: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    since.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens for interrupts.
pub(super) struct Interrupts {
    state: Arc<AtomicU8>,
}

impl Interrupts {
    /// Begins to listen. An interrupt stops the reply that is drawn; another one, if it has not stopped after some seconds,
    /// ends the program, as does one while nothing is drawn, unless `editing`: then the line editor answers to the key.
    pub(super) fn install(editing: bool) -> Result<Self, ctrlc::Error> {
        let state = Arc::new(AtomicU8::new(IDLE));
        let seen = Arc::clone(&state);
        let since = Mutex::new(None);
        ctrlc::set_handler(move || {
            let before =
                seen.compare_exchange(DRAWING, REQUESTED, Ordering::SeqCst, Ordering::SeqCst);
            match before {
                Ok(_) => *lock(&since) = Some(Instant::now()),
                Err(IDLE) if editing => {}
                Err(REQUESTED) if lock(&since).is_some_and(|at| at.elapsed() < PATIENCE) => {}
                Err(_) => exit(INTERRUPTED),
            }
        })?;
        Ok(Self { state })
    }

    pub(super) fn reply_begins(&self) {
        self.state.store(DRAWING, Ordering::SeqCst);
    }

    pub(super) fn reply_ended(&self) {
        self.state.store(IDLE, Ordering::SeqCst);
    }

    /// True once the reply that is drawn is to stop.
    pub(super) fn requested(&self) -> bool {
        self.state.load(Ordering::SeqCst) == REQUESTED
    }
}
