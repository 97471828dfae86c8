//! The loop that every kind of fitting shares.

use crate::draw::{Draw, Metrics, Step};
use crate::evaluate::mean_loss;
use crate::fit::STAGE;
use crate::step::gradients;
use crate::stopping::Stopping;
use crate::{Error, Example, SftConfig};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use training::{Checkpoint, Fingerprint, Observe, State, Steps, finite};
use transformer::{Decoder, Optimizer, check_parameters, fingerprint_of};

/// What a fitting is told besides its settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) steps: u64,
    pub(crate) seed: u64,
    /// What measures the model.
    pub(crate) held_out: &'a [&'a Example],
}

impl SftConfig {
    /// Takes all steps, or those that are left after the newest state that was kept.
    pub(crate) fn train<B: AutodiffBackend>(
        &self,
        mut decoder: Decoder<B>,
        plan: Plan<'_>,
        draw: &mut impl Draw,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Decoder<B>, Error> {
        self.check_groups(&decoder)?;
        let fingerprint = || self.fingerprint(plan, draw, &decoder);
        let (mut steps, saved) = Steps::begin(STAGE, plan.steps, fingerprint, observe, checkpoint)?;
        let mut optimizer = Optimizer::new(&self.optimizer);
        let mut stopping = Stopping::new(self.patience);
        if let Some(mut saved) = saved {
            draw.restore(&saved)?;
            stopping.restore(&decoder, &mut saved)?;
            decoder = optimizer.restore(decoder, &mut saved)?;
        }
        for step in steps.left() {
            if stopping.is_over() {
                break;
            }
            let drawn = draw.draw(step)?;
            let mut metrics;
            (decoder, metrics) = self.step(decoder, &mut optimizer, plan, step, &drawn)?;
            if step == plan.steps {
                self.check_end(&decoder, step, &drawn.examples)?;
            }
            if self.measures(plan, step)
                && let Some(loss) =
                    mean_loss(&decoder.valid(), plan.held_out, self.tokens_per_micro_batch)
            {
                let loss = finite(STAGE, step, "held_out_loss", loss)?;
                metrics.push(("held_out_loss", loss));
                stopping.measured(step, loss, &decoder);
            }
            steps.record(step, &metrics)?;
            steps.save(step, || {
                let mut state = optimizer.save(&decoder)?;
                stopping.save(&mut state)?;
                draw.save(&mut state.values);
                Ok::<State, Error>(state)
            })?;
        }
        let (decoder, note) = stopping.into_best(decoder);
        if let Some(note) = note {
            steps.observe().note(&note);
        }
        steps.finish()?;
        Ok(decoder)
    }

    /// One optimiser step and what is recorded of it.
    fn step<'a, B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        optimizer: &mut Optimizer<B>,
        plan: Plan<'_>,
        step: u64,
        drawn: &Step<'a>,
    ) -> Result<(Decoder<B>, Metrics<'a>), Error> {
        let Step { examples, counts } = drawn;
        let found = gradients(&decoder, examples, self.tokens_per_micro_batch);
        finite(STAGE, step, "loss", found.loss)?;
        let learning_rate = self.optimizer.learning_rate * self.schedule.rate(step - 1, plan.steps);
        let (decoder, gradient_norm) = optimizer.step(learning_rate, decoder, found.gradients);
        finite(STAGE, step, "gradient_norm", gradient_norm)?;
        let tokens = examples.iter().map(|example| example.inputs().len()).sum::<usize>() as f64;
        let loss_tokens = examples.iter().map(|example| example.target_count()).sum::<usize>();
        let mut metrics = vec![
            ("loss", found.loss),
            ("learning_rate", learning_rate),
            ("gradient_norm", gradient_norm),
            ("tokens", tokens),
            ("loss_tokens", loss_tokens as f64),
            ("examples", examples.len() as f64),
        ];
        metrics.extend_from_slice(counts);
        Ok((decoder, metrics))
    }

    /// Sees that the last update, which shows in no loss after it, has left a model that can be used.
    fn check_end<B: AutodiffBackend>(
        &self,
        decoder: &Decoder<B>,
        step: u64,
        examples: &[&Example],
    ) -> Result<(), Error> {
        check_parameters(STAGE, step, decoder)?;
        let one = &examples[..examples.len().min(1)];
        if let Some(loss) = mean_loss(&decoder.valid(), one, self.tokens_per_micro_batch) {
            finite(STAGE, step, "the loss after the update", loss)?;
        }
        Ok(())
    }

    /// Whether the model is measured after a step.
    fn measures(&self, plan: Plan<'_>, step: u64) -> bool {
        step == plan.steps || self.evaluate_every.is_some_and(|every| step.is_multiple_of(every))
    }

    /// What a state belongs to besides the stage.
    fn fingerprint<B: AutodiffBackend>(
        &self,
        plan: Plan<'_>,
        draw: &impl Draw,
        decoder: &Decoder<B>,
    ) -> String {
        let settings = Fingerprint::default()
            .with("settings", self)
            .with("seed", &plan.seed)
            .with("steps", &plan.steps);
        draw.fingerprint(settings).with("weights", &fingerprint_of(decoder)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::testing::{B, Kept, Records, codec, contrary, counting, decoder, numbers};
    use dialogue::Dialogue;
    use training::{NoCheckpoints, OptimizerConfig, Overlong, Silent};
    use transformer::{LoraConfig, Transformer};

    type Fitted = Result<Decoder<B>, Error>;

    /// Whatever step a fitting dies at, it goes on to the same weights and the same records.
    fn assert_goes_on(fit: impl Fn(&mut dyn Observe, &mut dyn Checkpoint) -> Fitted) {
        let mut whole = Records::default();
        let expected = fit(&mut whole, &mut NoCheckpoints).unwrap();
        let steps = whole.steps.len() as u64;
        assert!(steps > 3, "{steps}");
        for every in [1, 3] {
            for dies_at in 0..=steps {
                let mut kept = Kept::every(every);
                let mut records = Records { dies_at: Some(dies_at), ..Records::default() };
                fit(&mut records, &mut kept).unwrap_err();
                records.dies_at = None;
                let gone_on = fit(&mut records, &mut kept).unwrap();
                let taken = if dies_at == 0 { whole.started.clone().unwrap().1 } else { dies_at };
                let newest = (taken.min(steps + 1) - 1) / every * every;
                assert_eq!(records.done, newest, "dies at {dies_at}");
                assert_eq!(records.steps, whole.steps);
                assert_eq!(records.metrics, whole.metrics, "dies at {dies_at}");
                assert_eq!(numbers(&gone_on), numbers(&expected), "dies at {dies_at}");
            }
        }
    }

    fn config() -> SftConfig {
        SftConfig {
            epochs: 2,
            tokens_per_step: 64,
            tokens_per_micro_batch: 24,
            optimizer: OptimizerConfig { weight_decay: 0.1, ..OptimizerConfig::default() },
            ..SftConfig::default()
        }
    }

    #[test]
    fn examples_go_on() {
        let examples = counting(24);
        let config = config();
        assert_goes_on(|observe, keep| {
            config.fit_examples(decoder(1), &examples, 1, observe, keep)
        });
    }

    #[test]
    fn an_adapter_goes_on() {
        let examples = counting(24);
        let config = SftConfig { lora: Some(LoraConfig::default()), ..config() };
        assert_goes_on(|observe, keep| {
            config.fit_examples(decoder(1), &examples, 1, observe, keep)
        });
    }

    #[test]
    fn a_stop_and_the_best_weights_go_on() {
        let (examples, config) = contrary();
        assert_goes_on(|observe, keep| {
            config.fit_examples(decoder(1), &examples, 1, observe, keep)
        });
    }

    #[test]
    fn a_mixture_of_dialogues_goes_on() {
        let exchanges = |count: usize, word: &str| {
            let add = |dialogue: Dialogue, _| dialogue.with_user(word).with_assistant("b");
            (0..count).fold(Dialogue::default(), add)
        };
        let long: Vec<Dialogue> = (1..5).map(|count| exchanges(count, "a")).collect();
        let short: Vec<Dialogue> =
            ["a", "b", "c", "a b", "c b"].map(|word| exchanges(1, word)).into();
        let sources =
            [Source { name: "long", items: &long }, Source { name: "short", items: &short }];
        let config = SftConfig {
            tokens_per_step: 24,
            overlong: Overlong::OldestTurns,
            held_out: 0.2,
            evaluate_every: Some(2),
            weights: [("short".to_owned(), 1.5)].into(),
            ..config()
        };
        assert_goes_on(|observe, keep| {
            let model = Transformer::new(decoder(1), codec());
            Ok(config.fit_mixture(model, &sources, 1, observe, keep)?.decoder)
        });
    }

    /// Examples that depend on the step, one of which is too long.
    fn drawn(step: u64) -> Vec<Example> {
        let mut examples = counting(6);
        examples.rotate_left(usize::try_from(step % 6).unwrap());
        examples.truncate(3);
        examples.push(Example::unmasked(vec![1; 17]));
        examples
    }

    #[test]
    fn a_stream_goes_on() {
        let config = config();
        assert_goes_on(|observe, keep| config.fit_stream(decoder(1), 5, drawn, 1, observe, keep));
    }

    #[test]
    fn another_stream_does_not_go_on() {
        let mut kept = Kept::every(1);
        let mut records = Records { dies_at: Some(4), ..Records::default() };
        let config = config();
        config.fit_stream(decoder(1), 5, drawn, 1, &mut records, &mut kept).unwrap_err();
        let other = |step| drawn(step + 1);
        let error = config.fit_stream(decoder(1), 5, other, 1, &mut Silent, &mut kept).unwrap_err();
        assert!(matches!(error, Error::Stream { step: 2 }), "{error}");
    }

    #[test]
    fn the_state_of_another_fitting_is_refused() {
        let examples = counting(24);
        let mut kept = Kept::every(1);
        let mut records = Records { dies_at: Some(2), ..Records::default() };
        let config = config();
        let base = || decoder(1);
        config.fit_examples(base(), &examples, 1, &mut records, &mut kept).unwrap_err();
        let mut refused = |config: &SftConfig, decoder, examples: &[Example], seed| {
            let found = config.fit_examples(decoder, examples, seed, &mut Silent, &mut kept);
            assert!(found.unwrap_err().to_string().contains("states of this fitting"));
        };
        refused(&SftConfig { tokens_per_step: 63, ..config.clone() }, base(), &examples, 1);
        refused(&config, decoder(2), &examples, 1);
        refused(&config, base(), &examples, 2);
        let mut others = examples.clone();
        others[3].weights[1] *= 2.0;
        refused(&config, base(), &others, 1);
        others.clone_from(&examples);
        others[3].tokens[0] += 1;
        refused(&config, base(), &others, 1);
        config.fit_examples(base(), &examples, 1, &mut Silent, &mut kept).unwrap();
    }
}
