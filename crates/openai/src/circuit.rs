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

    /// The server has not answered, or says that it cannot.
    pub(crate) fn failure(&self) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(1) >= self.limit {
            self.open.send_replace(true);
        }
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
    fn opens_after_failures_in_a_row_only() {
        let circuit = Circuit::new(3);
        for _ in 0..5 {
            circuit.failure();
            circuit.failure();
            circuit.success();
        }
        assert!(!circuit.is_open());
        (0..3).for_each(|_| circuit.failure());
        assert!(circuit.is_open());
        circuit.success();
        assert!(circuit.is_open(), "an answer that was on its way does not close it");
        circuit.close();
        assert!(!circuit.is_open());
        circuit.failure();
        assert!(!circuit.is_open());
    }

    #[test]
    fn closing_a_closed_one_forgets_nothing() {
        let circuit = Circuit::new(2);
        circuit.failure();
        circuit.close();
        circuit.failure();
        assert!(circuit.is_open());
    }
}
