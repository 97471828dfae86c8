//! What a round of replies teaches.

use crate::{
    PpoConfig, Variance, generalised_advantages, kl_per_token, returns, token_rewards, whiten,
};

/// What policy, reference and value head say of the replies of a round, before it is learned from.
///
/// # Shapes
/// One row a reply, one number a reply token, the end-of-turn token included.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Estimates {
    /// Log-probs of the policy that drew the replies, in nats.
    pub log_probs: Vec<Vec<f32>>,
    /// Log-probs of the reference, in nats.
    pub reference_log_probs: Vec<Vec<f32>>,
    /// The value before each token is drawn, in score units.
    pub values: Vec<Vec<f32>>,
    /// Entropy of the distribution that each token was drawn from, in nats.
    pub entropies: Vec<Vec<f32>>,
}

impl Estimates {
    /// Rows to be filled, one a reply.
    pub(crate) fn empty(replies: usize) -> Self {
        let rows = vec![Vec::new(); replies];
        Self {
            log_probs: rows.clone(),
            reference_log_probs: rows.clone(),
            values: rows.clone(),
            entropies: rows,
        }
    }
}

/// What the losses are computed from.
///
/// # Shapes
/// As [`Estimates`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Experience {
    /// Advantages, whitened if [`PpoConfig::whiten_advantages`] says so.
    pub advantages: Vec<Vec<f32>>,
    /// Targets of the value head.
    pub returns: Vec<Vec<f32>>,
}

impl Experience {
    /// Rewards, advantages and returns of replies with these scores.
    ///
    /// `scores`, one a reply, go in as they are: a penalty for a missing end has been taken off already.
    ///
    /// # Panics
    /// If the numbers of replies or tokens differ.
    pub fn new(config: &PpoConfig, estimates: &Estimates, scores: &[f32]) -> Self {
        assert_eq!(estimates.log_probs.len(), scores.len(), "one score a reply");
        let mut advantages: Vec<Vec<f32>> = (0..scores.len())
            .map(|reply| {
                let kl = kl_per_token(
                    &estimates.log_probs[reply],
                    &estimates.reference_log_probs[reply],
                    config.kl_estimator,
                    config.kl_clamp,
                );
                let rewards = token_rewards(&kl, config.kl_coefficient, scores[reply]);
                let values = &estimates.values[reply];
                generalised_advantages(&rewards, values, config.gamma, config.lambda)
            })
            .collect();
        let returns = advantages
            .iter()
            .zip(&estimates.values)
            .map(|(advantages, values)| returns(advantages, values))
            .collect();
        if config.whiten_advantages {
            whiten(&mut advantages, Variance::Unbiased, true);
        }
        Self { advantages, returns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::assert_close;

    /// Two replies, of three tokens and of one.
    fn estimates() -> Estimates {
        Estimates {
            log_probs: vec![vec![-1.0, -2.0, -0.5], vec![-3.0]],
            reference_log_probs: vec![vec![-2.0, -1.0, -0.5], vec![-4.0]],
            values: vec![vec![0.5, 0.25, 0.0], vec![1.0]],
            entropies: Vec::new(),
        }
    }

    fn config(whiten_advantages: bool) -> PpoConfig {
        let defaults = PpoConfig::default();
        PpoConfig { kl_coefficient: 0.1, gamma: 1.0, lambda: 0.5, whiten_advantages, ..defaults }
    }

    #[test]
    fn two_replies_by_hand() {
        let experience = Experience::new(&config(false), &estimates(), &[2.0, -1.0]);
        // First: KL 1, -1, 0; rewards -0.1, 0.1, 2. Deltas -0.1 + 0.25 - 0.5 = -0.35; 0.1 + 0 - 0.25 = -0.15; 2.
        // Advantages from the end: 2; -0.15 + 1 = 0.85; -0.35 + 0.425 = 0.075.
        assert_close(&experience.advantages[0], &[0.075, 0.85, 2.0], 1e-6);
        assert_close(&experience.returns[0], &[0.575, 1.1, 2.0], 1e-6);
        // Second: KL 1, reward -0.1 - 1, advantage -2.1, return -1.1.
        assert_close(&experience.advantages[1], &[-2.1], 1e-6);
        assert_close(&experience.returns[1], &[-1.1], 1e-6);
    }

    #[test]
    fn whitening_leaves_the_returns_alone() {
        let plain = Experience::new(&config(false), &estimates(), &[2.0, -1.0]);
        let white = Experience::new(&config(true), &estimates(), &[2.0, -1.0]);
        assert_eq!(white.returns, plain.returns);
        let numbers = white.advantages.concat();
        let mean = numbers.iter().sum::<f32>() / 4.0;
        let variance = numbers.iter().map(|number| (number - mean).powi(2)).sum::<f32>() / 3.0;
        assert_close(&[mean, variance], &[0.0, 1.0], 1e-5);
    }

    #[test]
    fn the_clamp_bounds_the_penalty_alone() {
        let config = PpoConfig { kl_clamp: Some(0.5), lambda: 0.0, ..config(false) };
        let experience = Experience::new(&config, &estimates(), &[2.0, -1.0]);
        // With lambda 0 the advantages are the deltas: -0.05 + 0.25 - 0.5; 0.05 - 0.25; 2; -0.05 - 1 - 1.
        assert_close(&experience.advantages[0], &[-0.3, -0.2, 2.0], 1e-6);
        assert_close(&experience.advantages[1], &[-2.05], 1e-6);
    }
}
