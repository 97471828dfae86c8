//! The three things that a language model does for this workspace.

use crate::{Completion, Error, Prompt, Sampling};
use dialogue::Dialogue;

/// Draws replies.
pub trait Generate {
    /// One completion a prompt, in the order of the prompts.
    ///
    /// # Errors
    /// If a prompt does not fit the model, the settings are out of range, or the model fails.
    fn generate(&self, prompts: &[Prompt], sampling: &Sampling) -> Result<Vec<Completion>, Error>;
}

/// Weighs fixed answers.
pub trait Choose {
    /// For every prompt the probability of each option as its continuation, normalised over `options`.
    ///
    /// # Shapes
    /// `[prompts][options]`; every row sums to 1.
    ///
    /// # Errors
    /// If a prompt does not fit the model, an option is empty, or the model fails.
    fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error>;
}

/// Scores finished dialogues.
pub trait Reward {
    /// One score a dialogue, higher is better, in the order of the dialogues.
    ///
    /// # Errors
    /// If a dialogue does not fit the model, or the model fails.
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, Error>;

    /// What tells this reward from others, such as a hash of its weights; none if nothing does, as for a closure.
    ///
    /// A run that learns from a reward and goes on after a kill refuses to go on with one of another fingerprint.
    fn fingerprint(&self) -> Option<String> {
        None
    }
}

impl<F> Reward for F
where
    F: Fn(&Dialogue) -> f32,
{
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, Error> {
        Ok(dialogues.iter().map(self).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_is_a_reward() {
        let length = |dialogue: &Dialogue| dialogue.last_reply().map_or(0.0, |r| r.len() as f32);
        let reward: &dyn Reward = &length;
        let scores = reward.reward(&[Dialogue::default().with_assistant("abc")]).unwrap();
        assert_eq!(scores, [3.0]);
        assert_eq!(reward.fingerprint(), None);
    }
}
