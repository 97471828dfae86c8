//! Which prompts come next.

use language_model::{item_seed, stream};
use rand::seq::SliceRandom;

/// Walks over prompts in a shuffled order, and in a new one each time all have been seen.
#[derive(Debug)]
pub(crate) struct PromptCursor {
    seed: u64,
    epoch: u64,
    order: Vec<usize>,
    next: usize,
}

impl PromptCursor {
    /// A cursor over `count` prompts, at least one.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        Self { seed, epoch: 0, order: (0..count).collect(), next: count }
    }

    /// The index of the next prompt.
    pub(crate) fn advance(&mut self) -> usize {
        if self.next == self.order.len() {
            let seed = item_seed(self.seed, &["ppo", "prompts", &self.epoch.to_string()]);
            self.order.sort_unstable();
            self.order.shuffle(&mut stream(seed));
            self.epoch += 1;
            self.next = 0;
        }
        self.next += 1;
        self.order[self.next - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(count: usize, seed: u64, steps: usize) -> Vec<usize> {
        let mut cursor = PromptCursor::new(count, seed);
        (0..steps).map(|_| cursor.advance()).collect()
    }

    #[test]
    fn sees_every_prompt_once_an_epoch() {
        let walked = walk(20, 3, 60);
        for epoch in walked.chunks(20) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        }
        assert_ne!(walked[..20], walked[20..40]);
        assert_eq!(walked, walk(20, 3, 60));
        assert_ne!(walked, walk(20, 4, 60));
        assert_eq!(walk(1, 3, 3), [0, 0, 0]);
    }
}
