//! One model while it is fitted.

use crate::heads::Heads;
use crate::pairs::{Pair, Pairs};
use crate::plan::Part;
use crate::step::{ScoredPair, StepGradients, gradients};
use crate::{Error, PreferenceModelConfig, Start};
use burn::tensor::backend::AutodiffBackend;
use std::iter;
use training::{State, finite};
use transformer::{Optimizer, ScalarHead, learning_paths};

/// The name of a metric and its value.
pub(crate) type Metric = (&'static str, f64);

impl PreferenceModelConfig {
    /// Checks that every group of the optimiser has a parameter, as fitting what is given does before its first step. A model of
    /// the same shape will do.
    ///
    /// # Errors
    /// [`training::Error::EmptyGroup`], or an adapter that does not fit the model.
    pub fn check_optimizer<B: AutodiffBackend>(
        &self,
        start: impl Into<Start<B>>,
    ) -> Result<(), Error> {
        let start = start.into();
        // The model of a half has one head.
        for heads in iter::once(self.ensemble.heads).chain(self.robustness.then_some(1)) {
            let part = Part { seed: 0, heads, is_member: true, steps: Vec::new() };
            drop(Training::begin(self, &part, start.clone())?);
        }
        Ok(())
    }
}

/// A model and its optimiser.
pub(crate) struct Training<B: AutodiffBackend> {
    pub(crate) model: Heads<B>,
    optimizer: Optimizer<B>,
}

impl<B: AutodiffBackend> Training<B> {
    /// Before the first step. An adapter of the model that fitting begins with is added to its weights first, since a model
    /// has one adapter at most.
    pub(crate) fn begin(
        config: &PreferenceModelConfig,
        part: &Part<'_>,
        start: Start<B>,
    ) -> Result<Self, Error> {
        let Start { mut decoder, head, .. } = start;
        if decoder.adapter().is_some() {
            decoder = decoder.merge_adapter();
        }
        if let Some(lora) = &config.lora {
            decoder = decoder.with_adapter(lora, part.seed_of(&["adapter"]))?;
        }
        let (width, device) = (decoder.config().hidden_size, decoder.device());
        let fresh = |index: usize| {
            let seed = match index {
                0 => part.seed_of(&["head"]),
                other => part.seed_of(&["head", &other.to_string()]),
            };
            ScalarHead::init(width, seed, &device)
        };
        let heads = match head {
            Some(head) => vec![head],
            None => (0..part.heads).map(fresh).collect(),
        };
        let model = Heads::new(decoder, heads);
        config.optimizer.check_groups("optimizer", &learning_paths(&model))?;
        Ok(Self { model, optimizer: Optimizer::new(&config.optimizer) })
    }

    /// What [`Training::restored`] goes on from.
    pub(crate) fn state(&self) -> Result<State, Error> {
        Ok(self.optimizer.save(&self.model)?)
    }

    pub(crate) fn restored(mut self, state: &mut State) -> Result<Self, Error> {
        let model = self.optimizer.restore(self.model, state)?;
        Ok(Self { model, ..self })
    }

    /// Takes step `local` of the part, counted from 1; `step` is its number in the stage `stage`.
    pub(crate) fn step(
        mut self,
        config: &PreferenceModelConfig,
        pairs: &Pairs,
        part: &Part<'_>,
        local: u64,
        (stage, step): (&str, u64),
    ) -> Result<(Self, Vec<Metric>), Error> {
        #[expect(clippy::cast_possible_truncation, reason = "an index into what is in memory")]
        let batch = &part.steps[local as usize - 1];
        let found = gradients(config, &self.model, pairs, batch);
        finite(stage, step, "loss", found.loss)?;
        let rate = config.schedule.rate(local - 1, part.len());
        let learning_rate = config.optimizer.learning_rate * rate;
        let mut metrics = metrics(pairs, batch, &found);
        let (model, norm) = self.optimizer.step(learning_rate, self.model, found.gradients);
        metrics.push(("learning_rate", learning_rate));
        metrics.push(("gradient_norm", finite(stage, step, "gradient_norm", norm)?));
        Ok((Self { model, ..self }, metrics))
    }
}

/// What a step records before its update.
fn metrics(pairs: &Pairs, batch: &[&Pair], found: &StepGradients) -> Vec<Metric> {
    let mean = |of: fn(&ScoredPair) -> f64| {
        found.pairs.iter().map(of).sum::<f64>() / found.pairs.len() as f64
    };
    let tokens = batch.iter().map(|pair| pairs.tokens(pair)).sum::<usize>();
    let mut metrics = vec![
        ("loss", found.loss),
        ("margin", mean(|pair| pair.chosen - pair.rejected)),
        ("chosen_score", mean(|pair| pair.chosen)),
        ("rejected_score", mean(|pair| pair.rejected)),
        ("pairs", batch.len() as f64),
        ("tokens", tokens as f64),
        ("overlong", pairs.overlong as f64),
        ("shortened", pairs.shortened as f64),
        ("identical", pairs.identical as f64),
    ];
    let right = found.pairs.iter().filter_map(is_right);
    metrics.extend(evals::rate(right).map(|accuracy| ("accuracy", accuracy.value)));
    metrics
}

/// Whether the scores order a pair as its label does; none if the label orders nothing. A tie is wrong, as in TRL.
fn is_right(pair: &ScoredPair) -> Option<bool> {
    let margin = pair.chosen - pair.rejected;
    match pair.label.total_cmp(&0.5) {
        std::cmp::Ordering::Greater => Some(margin > 0.0),
        std::cmp::Ordering::Less => Some(margin < 0.0),
        std::cmp::Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::GradientsParams;
    use serde::Deserialize;

    /// Scores, and what TRL 1.12.0 records of them.
    #[derive(Deserialize)]
    struct Fixture {
        chosen: Vec<f64>,
        rejected: Vec<f64>,
        trl: Vec<Trl>,
    }

    #[derive(Deserialize)]
    struct Trl {
        accuracy: f64,
        mean_margin: f64,
    }

    /// What a step records of these pairs, `[chosen, rejected, label]` of each.
    fn recorded(pairs: impl Iterator<Item = [f64; 3]>) -> Vec<Metric> {
        let scored = |[chosen, rejected, label]: [f64; 3]| ScoredPair { chosen, rejected, label };
        let (pairs, gradients) = (pairs.map(scored).collect(), GradientsParams::new());
        metrics(&Pairs::default(), &[], &StepGradients { loss: 0.0, pairs, gradients })
    }

    #[test]
    fn accuracy_and_margin_are_those_of_trl() {
        let fixture = include_str!("../tests/fixtures/reward_model.json");
        let Fixture { chosen, rejected, trl } = serde_json::from_str(fixture).unwrap();
        let scores = || chosen.iter().copied().zip(rejected.iter().copied());
        assert!(scores().any(|(chosen, rejected)| chosen.total_cmp(&rejected).is_eq()));
        let stored = recorded(scores().map(|(chosen, rejected)| [chosen, rejected, 1.0]));
        // The same pairs stored the other way round, at a label of 0.
        let swapped = recorded(scores().map(|(chosen, rejected)| [rejected, chosen, 0.0]));
        assert!(trl.len() >= 4);
        for Trl { accuracy, mean_margin } in trl {
            for (metrics, margin) in [(&stored, mean_margin), (&swapped, -mean_margin)] {
                for (name, expected) in [("accuracy", accuracy), ("margin", margin)] {
                    let found = metrics.iter().find(|(found, _)| *found == name).unwrap().1;
                    assert!((found - expected).abs() < 1e-5, "{name}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn ties_are_wrong_whichever_reply_the_label_prefers() {
        let right = |chosen, rejected, label| is_right(&ScoredPair { chosen, rejected, label });
        for (label, expected) in [
            (0.9, [Some(true), Some(false), Some(false)]),
            (0.1, [Some(false), Some(false), Some(true)]),
            (0.5, [None; 3]),
        ] {
            assert_eq!(
                [right(1.0, 0.0, label), right(1.0, 1.0, label), right(0.0, 1.0, label)],
                expected
            );
        }
    }
}
