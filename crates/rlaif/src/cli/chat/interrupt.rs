//! Ctrl-C: it stops a reply and not the program.

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a shell reports for a program that an interrupt has ended.
const INTERRUPTED: i32 = 130;

/// Nothing is drawn.
const IDLE: u8 = 0;
/// A reply is drawn.
const DRAWING: u8 = 1;
/// The reply that is drawn is not wanted any more.
const REQUESTED: u8 = 2;

/// Listens for interrupts.
pub(super) struct Interrupts {
    state: Arc<AtomicU8>,
}

impl Interrupts {
    /// Begins to listen. An interrupt stops the reply that is drawn; another one before it has stopped ends the program,
    /// as does one while nothing is drawn, unless `editing`: then the line editor answers to the key.
    pub(super) fn install(editing: bool) -> Result<Self, ctrlc::Error> {
        let state = Arc::new(AtomicU8::new(IDLE));
        let seen = Arc::clone(&state);
        ctrlc::set_handler(move || {
            let before =
                seen.compare_exchange(DRAWING, REQUESTED, Ordering::SeqCst, Ordering::SeqCst);
            match before {
                Ok(_) => {}
                Err(IDLE) if editing => {}
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
