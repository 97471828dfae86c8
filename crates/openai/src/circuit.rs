//! Whether the server is still there.

use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::watch;

/// Counts failures in a row over all requests, and opens when there are too many.
#[derive(Debug)]
pub(crate) struct Circuit {
    limit: u32,
    failures: AtomicU32,
    open: watch::Sender<bool>,
}

impl Circuit {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, failures: AtomicU32::new(0), open: watch::Sender::new(false) }
    }

    /// The server has answered.
    pub(crate) fn success(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// The server has not answered, or says that it cannot. Tells once whether it has now failed as often as it may.
    pub(crate) fn failure(&self) -> bool {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        before.saturating_add(1) == self.limit
    }

    /// The server counts as gone.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Waits until it opens.
    pub(crate) async fn opened(&self) {
        // The sender is part of `self`, so waiting for it cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }

    /// Gives the server another chance, if it had lost it.
    pub(crate) fn close(&self) {
        if self.open.send_replace(false) {
            self.success();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_once_of_failures_in_a_row() {
        let circuit = Circuit::new(3);
        for _ in 0..5 {
            assert!(!circuit.failure() && !circuit.failure());
            circuit.success();
        }
        let told: Vec<bool> = (0..5).map(|_| circuit.failure()).collect();
        assert_eq!(told, [false, false, true, false, false]);
    }

    #[test]
    fn is_open_until_it_is_closed() {
        let circuit = Circuit::new(3);
        assert!(!circuit.is_open());
        circuit.open();
        circuit.success();
        assert!(circuit.is_open(), "an answer that was on its way does not close it");
        circuit.close();
        assert!(!circuit.is_open() && !circuit.failure());
    }

    #[test]
    fn closing_a_closed_one_forgets_nothing() {
        let circuit = Circuit::new(2);
        assert!(!circuit.failure());
        circuit.close();
        assert!(circuit.failure());
    }
}
