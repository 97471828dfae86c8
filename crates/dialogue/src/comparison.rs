//! Two replies to one prompt, not yet judged.

use crate::Dialogue;
use serde::{Deserialize, Serialize};

/// Two replies to the same prompt, in a fixed order: the first is (A), the second (B).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// What both replies answer.
    pub prompt: Dialogue,
    /// The replies (A) and (B).
    pub replies: [String; 2],
}

impl Comparison {
    /// The same pair in the other order.
    #[must_use]
    pub fn swapped(&self) -> Self {
        let [first, second] = self.replies.clone();
        Self { prompt: self.prompt.clone(), replies: [second, first] }
    }

    /// Whether both replies are the same but for the space around them, so that there is nothing to judge.
    pub fn is_even(&self) -> bool {
        let [a, b] = &self.replies;
        a.trim() == b.trim()
    }

    /// The whole dialogue that ends in reply `index` (0 or 1).
    ///
    /// # Panics
    /// If `index` is above 1.
    pub fn dialogue(&self, index: usize) -> Dialogue {
        self.prompt.clone().with_assistant(self.replies[index].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_twice_is_the_same() {
        let pair = Comparison {
            prompt: Dialogue::from_user("q"),
            replies: ["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(pair.swapped().dialogue(0).last_reply(), Some("b"));
        assert_eq!(pair.swapped().swapped(), pair);
    }

    #[test]
    fn space_around_replies_makes_no_difference_and_space_within_does() {
        let is_even = |a: &str, b: &str| {
            let replies = [a.to_owned(), b.to_owned()];
            Comparison { prompt: Dialogue::from_user("q"), replies }.is_even()
        };
        assert!(is_even("yes", "yes") && is_even(" yes", "yes\n") && is_even("", " "));
        assert!(!is_even("yes", "no") && !is_even("y es", "yes"));
    }
}
