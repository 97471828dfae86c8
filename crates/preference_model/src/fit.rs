//! Fitting a preference model.

use crate::pairs::{Pair, Pairs};
use crate::scores::final_scores;
use crate::step::{StepGradients, gradients};
use crate::{Error, Normalisation, PreferenceModel, PreferenceModelConfig, Report};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use dialogue::Preference;
use language_model::{item_seed, stream};
use training::{Observe, batches, finite};
use transformer::{Optimizer, ScalarHead, ScalarModel, Transformer};

/// The name of the stage in records, errors and random streams.
pub(crate) const STAGE: &str = "preference_model";

impl PreferenceModelConfig {
    /// Fits the trunk of `base` and a fresh head to preferences.
    ///
    /// A share of the prompts is held out and measures the model at the end. Both dialogues of a pair go through the model
    /// in one batch, and pairs of similar length share a step. Pairs whose replies are the same are left out.
    ///
    /// Every step records `loss` (nats a pair, before the update), `accuracy` (share of the pairs with a label other than
    /// 0.5 that the scores order as the label does; absent if there is none), `margin`, `learning_rate`,
    /// `gradient_norm` (before clipping), `pairs`, `tokens` (without padding), `overlong` and `identical` (pairs left
    /// out). The last step adds `score_mean` and `score_std`, and if pairs are held out `held_out_pairs`,
    /// `held_out_accuracy`, `held_out_log_loss`, `held_out_label_entropy`, `held_out_calibration_error` and
    /// `held_out_margin`; see [`Report`].
    ///
    /// The weights of the result ask for no gradients.
    ///
    /// # Errors
    /// If a setting is out of range, a dialogue cannot be rendered, a label is no probability, no pair is left, the loss
    /// or the gradient is not finite, or a record cannot be written.
    ///
    /// # References
    /// Constitutional AI (arXiv 2212.08073), section 4.1. The head is that of arXiv 2009.01325, the normalisation that of
    /// arXiv 1909.08593.
    pub fn fit<B: AutodiffBackend>(
        &self,
        base: Transformer<B>,
        preferences: &[Preference],
        seed: u64,
        observe: &mut dyn Observe,
    ) -> Result<PreferenceModel<B>, Error> {
        self.validate()?;
        let Transformer { decoder, codec, .. } = base;
        let pairs = Pairs::new(&codec, decoder.config(), preferences, self.overlong)?;
        let (training, held_out) = pairs.split(self.held_out, seed);
        if training.is_empty() {
            return Err(pairs.none_left());
        }
        let head_seed = item_seed(seed, &[STAGE, "head"]);
        let head = ScalarHead::init(decoder.config().hidden_size, head_seed, &decoder.device());
        let mut model = ScalarModel::new(decoder, head);
        let mut optimizer = Optimizer::new(&self.optimizer);
        let mut rng = stream(item_seed(seed, &[STAGE, "micro-batches"]));
        let order = self.order(&pairs, &training, seed);
        let steps = order.len() as u64;
        let mut normalisation = Normalisation::default();
        observe.start(STAGE, steps, 0)?;
        for (step, batch) in (1..).zip(&order) {
            let found = gradients(&model, &pairs, batch, self.tokens_per_micro_batch, &mut rng);
            finite(STAGE, step, "loss", found.loss)?;
            let learning_rate = self.optimizer.learning_rate * self.schedule.rate(step - 1, steps);
            let mut metrics = metrics(&pairs, batch, &found, learning_rate);
            let gradient_norm;
            (model, gradient_norm) = optimizer.step(learning_rate, model, found.gradients);
            metrics.push(("gradient_norm", finite(STAGE, step, "gradient_norm", gradient_norm)?));
            if step == steps {
                let (model, references) = (model.valid(), self.reference_dialogues);
                let scores = final_scores(&model, &pairs, &training, &held_out, references, seed);
                normalisation = Normalisation::of(scores.values());
                let Normalisation { mean, std } = normalisation;
                metrics.push(("score_mean", finite(STAGE, step, "score_mean", mean)?));
                metrics.push(("score_std", finite(STAGE, step, "score_std", std)?));
                let report = scores.report(&held_out)?;
                metrics.extend(report.iter().flat_map(Report::metrics));
            }
            observe.record(step, &metrics)?;
        }
        observe.finish()?;
        Ok(PreferenceModel::new(model, codec, normalisation))
    }

    /// The pairs of every step of all epochs.
    fn order<'a>(&self, pairs: &Pairs, training: &[&'a Pair], seed: u64) -> Vec<Vec<&'a Pair>> {
        let mut rng = stream(item_seed(seed, &[STAGE, "order"]));
        let lengths: Vec<usize> = training.iter().map(|pair| pairs.padded_tokens(pair)).collect();
        (0..self.epochs)
            .flat_map(|_| batches(&lengths, self.tokens_per_step, &mut rng))
            .map(|batch| batch.iter().map(|&pair| training[pair]).collect())
            .collect()
    }
}

/// What a step records, but for the norm of its gradients.
fn metrics(
    pairs: &Pairs,
    batch: &[&Pair],
    found: &StepGradients,
    learning_rate: f64,
) -> Vec<(&'static str, f64)> {
    let margin = found.margins.iter().map(|(margin, _)| margin).sum::<f64>();
    let decided = found.margins.iter().filter(|(_, label)| label.total_cmp(&0.5).is_ne());
    let accuracy = evals::rate(decided.map(|&(margin, label)| (margin > 0.0) == (label > 0.5)));
    let mut metrics = vec![
        ("loss", found.loss),
        ("margin", margin / batch.len() as f64),
        ("learning_rate", learning_rate),
        ("pairs", batch.len() as f64),
        ("tokens", batch.iter().map(|pair| pairs.tokens(pair)).sum::<usize>() as f64),
        ("overlong", pairs.overlong as f64),
        ("identical", pairs.identical as f64),
    ];
    metrics.extend(accuracy.map(|accuracy| ("accuracy", accuracy.value)));
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Records, preference, transformer};
    use dialogue::Dialogue;
    use language_model::Reward;
    use training::{OptimizerConfig, Schedule, Silent};

    /// Replies with "good" beat the same replies with "bad", more or less surely.
    fn preferences() -> Vec<Preference> {
        let words = ["a", "b", "c", "d", "q", "r"];
        let mut preferences = Vec::new();
        for prompt in words {
            for (index, word) in words.into_iter().enumerate() {
                let (good, bad) = (format!("{word} good"), format!("{word} bad a"));
                preferences.push(preference(prompt, &good, &bad, 0.8 + 0.04 * index as f64));
            }
        }
        preferences
    }

    fn config(epochs: u64) -> PreferenceModelConfig {
        PreferenceModelConfig {
            epochs,
            tokens_per_step: 128,
            held_out: 0.2,
            optimizer: OptimizerConfig::default().with_learning_rate(5e-3),
            schedule: Schedule::constant(),
            ..PreferenceModelConfig::default()
        }
    }

    #[test]
    fn learns_what_is_preferred() {
        let mut records = Records::default();
        let model = config(10).fit(transformer(1), &preferences(), 1, &mut records).unwrap();
        let steps = records.metrics.len();
        assert_eq!(records.started, Some(("preference_model".to_owned(), steps as u64)));
        assert!(records.steps.iter().copied().eq(1..=steps as u64) && records.finished);
        let first = records.metric(0, "loss");
        assert!(first > 0.6, "{first}");
        let last = |name| records.metric(steps - 1, name);
        // One prompt of six is held out; labels of 0.9 on average leave an entropy of 0.31.
        assert!((last("held_out_pairs") - 6.0).abs() < 1e-9);
        assert!((last("held_out_accuracy") - 1.0).abs() < 1e-9);
        assert!(last("held_out_log_loss") < last("held_out_label_entropy") + 0.1);
        assert!(last("held_out_calibration_error") < 0.15);
        assert!(last("loss") < 0.5 && last("accuracy") > 0.99 && last("margin") > 1.0);

        let replies = ["r good", "r bad a"].map(|r| Dialogue::from_user("q").with_assistant(r));
        let rewards = model.reward(&replies).unwrap();
        assert!(rewards[0] > rewards[1] + 1.0, "{rewards:?}");
        let report = model.evaluate(&preferences()).unwrap();
        assert!((report.accuracy.unwrap().value - 1.0).abs() < 1e-9 && report.pairs == 36);
    }

    #[test]
    fn rewards_of_the_reference_have_mean_0_and_standard_deviation_1() {
        let preferences = preferences();
        let model = config(1).fit(transformer(1), &preferences, 1, &mut Silent).unwrap();
        let both = |preference: &Preference| {
            [preference.chosen_dialogue(), preference.rejected_dialogue()]
        };
        let dialogues: Vec<Dialogue> = preferences.iter().flat_map(both).collect();
        let rewards = model.reward(&dialogues).unwrap();
        let count = rewards.len() as f32;
        let mean = rewards.iter().sum::<f32>() / count;
        let square = rewards.iter().map(|reward| reward * reward).sum::<f32>() / count;
        assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
    }

    #[test]
    fn the_seed_decides_the_result() {
        let score = |seed| {
            let fitted = config(1).fit(transformer(1), &preferences(), seed, &mut Silent).unwrap();
            fitted.normalisation().mean.to_bits()
        };
        assert_eq!(score(1), score(1));
        assert_ne!(score(1), score(2));
    }

    #[test]
    fn refuses_to_learn_from_nothing() {
        let same = [preference("q", "a", "a", 1.0)];
        let error = config(1).fit(transformer(1), &same, 1, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::NoPreferences { overlong: 0, identical: 1 }), "{error}");
    }

    #[test]
    fn names_the_step_where_it_diverges() {
        let mut config = config(3);
        config.optimizer.learning_rate = 1e30;
        let error = config.fit(transformer(1), &preferences(), 1, &mut Silent).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("at step 2 of preference_model"), "{message}");
    }
}
