//! Which prompts come next.

use language_model::{item_seed, stream};
use rand::seq::SliceRandom;

/// Walks over items in a shuffled order, and in a new one each time all have been seen.
///
/// Where it stands is a function of the seed and of the number of items taken, so that a run that goes on after a crash
/// needs nothing else.
#[derive(Debug)]
pub(crate) struct Cursor {
    seed: u64,
    name: &'static str,
    epoch: u64,
    order: Vec<usize>,
    next: usize,
}

impl Cursor {
    /// A cursor over `count` items, at least one, that has taken `taken` already; `name` tells its order from others.
    pub(crate) fn new(name: &'static str, count: usize, seed: u64, taken: u64) -> Self {
        let (epoch, next) = (taken / count as u64, taken % count as u64);
        let mut cursor = Self { seed, name, epoch, order: (0..count).collect(), next: count };
        if next > 0 {
            cursor.shuffle();
            #[expect(clippy::cast_possible_truncation, reason = "less than the number of items")]
            let next = next as usize;
            cursor.next = next;
        }
        cursor
    }

    /// The index of the next item.
    pub(crate) fn advance(&mut self) -> usize {
        if self.next == self.order.len() {
            self.shuffle();
        }
        self.next += 1;
        self.order[self.next - 1]
    }

    fn shuffle(&mut self) {
        let seed = item_seed(self.seed, &["ppo", self.name, &self.epoch.to_string()]);
        self.order.sort_unstable();
        self.order.shuffle(&mut stream(seed));
        self.epoch += 1;
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(count: usize, seed: u64, steps: usize) -> Vec<usize> {
        let mut cursor = Cursor::new("prompts", count, seed, 0);
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

    #[test]
    fn goes_on_where_it_was() {
        let whole = walk(7, 3, 30);
        for taken in 0..30 {
            let mut cursor = Cursor::new("prompts", 7, 3, taken as u64);
            let rest: Vec<usize> = (taken..30).map(|_| cursor.advance()).collect();
            assert_eq!(rest, whole[taken..]);
        }
    }
}
