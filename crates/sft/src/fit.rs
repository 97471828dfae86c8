//! Fitting a model to examples.

use crate::step::gradients;
use crate::{Error, Example, SftConfig};
use burn::tensor::backend::AutodiffBackend;
use dialogue::Dialogue;
use language_model::{item_seed, stream};
use std::borrow::Borrow;
use training::{Observe, Overlong, batches, finite};
use transformer::{Decoder, ModelConfig, Optimizer, Transformer};

/// The name of the stage in records and errors.
const STAGE: &str = "sft";

impl SftConfig {
    /// Fits a model to the assistant's turns of dialogues.
    ///
    /// # Errors
    /// If a setting is out of range, a dialogue cannot be rendered or has no assistant turn, no dialogue fits the context,
    /// the loss or the gradient is not finite, or a record cannot be written.
    pub fn fit<B: AutodiffBackend>(
        &self,
        model: Transformer<B>,
        dialogues: &[Dialogue],
        seed: u64,
        observe: &mut dyn Observe,
    ) -> Result<Transformer<B>, Error> {
        let Transformer { decoder, codec, engine } = model;
        let examples: Vec<Example> = dialogues
            .iter()
            .map(|dialogue| Example::from_dialogue(&codec, dialogue))
            .collect::<Result<_, _>>()?;
        let decoder = self.fit_examples(decoder, &examples, seed, observe)?;
        Ok(Transformer { decoder, codec, engine })
    }

    /// Fits a decoder to examples, `epochs` times over all of them; examples of similar length share a step.
    ///
    /// Every step records `loss` (nats a token, before the update), `learning_rate`, `gradient_norm` (before clipping),
    /// `tokens` (read by the model, without padding), `loss_tokens` (those that carry a loss) and `overlong` (examples
    /// dropped so far).
    ///
    /// # Errors
    /// If a setting is out of range, an example contradicts itself or the vocabulary, none fits the context, the loss or
    /// the gradient is not finite, or a record cannot be written.
    pub fn fit_examples<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        examples: &[Example],
        seed: u64,
        observe: &mut dyn Observe,
    ) -> Result<Decoder<B>, Error> {
        self.validate()?;
        let kept = self.keep(decoder.config(), examples.iter().collect())?;
        let overlong = examples.len() - kept.len();
        if kept.is_empty() {
            return Err(Error::NoExamples { overlong });
        }
        let mut rng = stream(item_seed(seed, &[STAGE, "order"]));
        let lengths: Vec<usize> = kept.iter().map(|example| example.inputs().len()).collect();
        let most = self.max_steps.unwrap_or(u64::MAX);
        let steps: Vec<Vec<usize>> = (0..self.epochs)
            .flat_map(|_| batches(&lengths, self.tokens_per_step, &mut rng))
            .take(usize::try_from(most).unwrap_or(usize::MAX))
            .collect();
        let mut order = steps.iter();
        let next = |_| {
            let rows = order.next().into_iter().flatten();
            Ok(Step { examples: rows.map(|&row| kept[row]).collect(), overlong })
        };
        self.run(decoder, steps.len() as u64, next, seed, observe)
    }

    /// Fits a decoder to examples that are made when they are due, as in pretraining: `examples(step)` gives all those of
    /// a step, counted from 0, so that no more than one step is held in memory.
    ///
    /// `steps` takes the place of `epochs`, `max_steps` and `tokens_per_step`; the records are those of
    /// [`SftConfig::fit_examples`].
    ///
    /// # Errors
    /// Those of [`SftConfig::fit_examples`]; a step must have an example that fits the context.
    pub fn fit_stream<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        steps: u64,
        mut examples: impl FnMut(u64) -> Vec<Example>,
        seed: u64,
        observe: &mut dyn Observe,
    ) -> Result<Decoder<B>, Error> {
        self.validate()?;
        let model = decoder.config().clone();
        let mut overlong = 0;
        let next = |step| {
            let drawn = examples(step);
            let count = drawn.len();
            let kept = self.keep(&model, drawn)?;
            overlong += count - kept.len();
            Ok(Step { examples: kept, overlong })
        };
        self.run(decoder, steps, next, seed, observe)
    }

    /// Checks every example and drops those that are longer than the context, if the settings say so.
    fn keep<E: Borrow<Example>>(
        &self,
        model: &ModelConfig,
        examples: Vec<E>,
    ) -> Result<Vec<E>, Error> {
        let mut kept = Vec::with_capacity(examples.len());
        for (index, example) in examples.into_iter().enumerate() {
            match example.borrow().check(index, model) {
                Ok(()) => kept.push(example),
                Err(Error::Overlong { .. }) if self.overlong == Overlong::Drop => {}
                Err(error) => return Err(error),
            }
        }
        Ok(kept)
    }

    /// The loop that every kind of fitting shares.
    fn run<B: AutodiffBackend, E: Borrow<Example>>(
        &self,
        mut decoder: Decoder<B>,
        steps: u64,
        mut next: impl FnMut(u64) -> Result<Step<E>, Error>,
        seed: u64,
        observe: &mut dyn Observe,
    ) -> Result<Decoder<B>, Error> {
        let mut optimizer = Optimizer::new(&self.optimizer);
        let mut rng = stream(item_seed(seed, &[STAGE, "micro-batches"]));
        observe.start(STAGE, steps, 0)?;
        for step in 0..steps {
            let Step { examples, overlong } = next(step)?;
            let rows: Vec<&Example> = examples.iter().map(Borrow::borrow).collect();
            if rows.is_empty() {
                return Err(Error::NoExamples { overlong });
            }
            let (loss, gradients) =
                gradients(&decoder, &rows, self.tokens_per_micro_batch, &mut rng);
            finite(STAGE, step + 1, "loss", loss)?;
            let learning_rate = self.optimizer.learning_rate * self.schedule.rate(step, steps);
            let gradient_norm;
            (decoder, gradient_norm) = optimizer.step(learning_rate, decoder, gradients);
            finite(STAGE, step + 1, "gradient_norm", gradient_norm)?;
            let metrics = [
                ("loss", loss),
                ("learning_rate", learning_rate),
                ("gradient_norm", gradient_norm),
                ("tokens", rows.iter().map(|row| row.inputs().len()).sum::<usize>() as f64),
                ("loss_tokens", rows.iter().map(|row| row.target_count()).sum::<usize>() as f64),
                ("overlong", overlong as f64),
            ];
            observe.record(step + 1, &metrics)?;
        }
        observe.finish()?;
        Ok(decoder)
    }
}

/// What an optimiser step learns from.
struct Step<E> {
    examples: Vec<E>,
    overlong: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate;
    use crate::testing::{B, Records, codec, counting, decoder};
    use burn::module::AutodiffModule;
    use language_model::{Generate, Prompt, Sampling, StopReason};
    use training::{OptimizerConfig, Schedule, Silent};

    fn config(epochs: u64) -> SftConfig {
        SftConfig {
            epochs,
            tokens_per_step: 64,
            optimizer: OptimizerConfig::default().with_learning_rate(1e-2),
            schedule: Schedule::constant(),
            ..SftConfig::default()
        }
    }

    fn loss(decoder: &Decoder<B>, examples: &[Example]) -> f64 {
        evaluate(&decoder.valid(), examples, 1_000).unwrap()
    }

    #[test]
    fn learns_to_count() {
        let examples = counting(24);
        let before = loss(&decoder(1), &examples);
        let mut records = Records::default();
        let fitted = config(30).fit_examples(decoder(1), &examples, 1, &mut records).unwrap();
        let after = loss(&fitted, &examples);
        assert!(before > 2.0 && after < 0.2, "{before} {after}");

        let steps = records.steps.len() as u64;
        assert_eq!(records.started, Some(("sft".to_owned(), steps)));
        assert!(steps > 60 && records.steps.iter().copied().eq(1..=steps) && records.finished);
        assert!((records.values("learning_rate")[0] - 1e-2).abs() < 1e-12);
        assert!(records.values("gradient_norm").iter().all(|norm| *norm > 0.0));
        // Every row of n tokens reads n - 1 and takes as many losses; 30 epochs of 24 rows.
        let tokens: usize = examples.iter().map(|example| example.tokens.len() - 1).sum();
        for name in ["tokens", "loss_tokens"] {
            assert!((records.values(name).iter().sum::<f64>() - 30.0 * tokens as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn a_model_learns_to_reply() {
        let dialogues = [("a", "b"), ("b", "c c"), ("c", "a")]
            .map(|(request, reply)| Dialogue::from_user(request).with_assistant(reply));
        let model = Transformer::new(decoder(1), codec());
        let fitted = config(60).fit(model, &dialogues, 1, &mut Silent).unwrap().valid();
        let greedy = Sampling::default().with_temperature(0.0).with_max_tokens(4);
        let prompts = dialogues.each_ref().map(|d| Prompt { dialogue: d.prompt(), seed: 1 });
        let replies = fitted.generate(&prompts, &greedy).unwrap();
        for (dialogue, reply) in dialogues.iter().zip(replies) {
            assert_eq!(
                reply.text.split_whitespace().collect::<Vec<_>>().join(" "),
                dialogue.last_reply().unwrap()
            );
            assert_eq!(reply.stopped, StopReason::Stop);
        }
    }

    #[test]
    fn the_seed_decides_the_result() {
        let examples = counting(24);
        let fitted = |seed| {
            let fitted = config(2).fit_examples(decoder(1), &examples, seed, &mut Silent).unwrap();
            loss(&fitted, &examples).to_bits()
        };
        assert_eq!(fitted(1), fitted(1));
        assert_ne!(fitted(1), fitted(2));
    }

    #[test]
    fn a_stream_of_the_same_steps_gives_the_same_model() {
        let examples = counting(6);
        let config = SftConfig { tokens_per_step: 1_000, ..config(3) };
        let (mut listed, mut streamed) = (Records::default(), Records::default());
        config.fit_examples(decoder(1), &examples, 1, &mut listed).unwrap();
        let mut asked = Vec::new();
        let draw = |step| {
            asked.push(step);
            examples.clone()
        };
        config.fit_stream(decoder(1), 3, draw, 1, &mut streamed).unwrap();
        assert_eq!(asked, [0, 1, 2]);
        for (listed, streamed) in listed.values("loss").iter().zip(streamed.values("loss")) {
            assert!((listed - streamed).abs() < 1e-5, "{listed} {streamed}");
        }
    }

    #[test]
    fn stops_after_the_most_steps() {
        let mut records = Records::default();
        let config = SftConfig { max_steps: Some(3), ..config(100) };
        config.fit_examples(decoder(1), &counting(24), 1, &mut records).unwrap();
        assert_eq!(records.steps, [1, 2, 3]);
        assert_eq!(records.started, Some(("sft".to_owned(), 3)));
    }

    #[test]
    fn drops_and_counts_what_is_too_long_or_says_so() {
        let mut examples = counting(2);
        examples.insert(1, Example::unmasked(vec![1; 17]));
        let mut records = Records::default();
        config(1).fit_examples(decoder(1), &examples, 1, &mut records).unwrap();
        assert_eq!(records.values("overlong").first(), Some(&1.0));

        let mut records = Records::default();
        config(1).fit_stream(decoder(1), 2, |_| examples.clone(), 1, &mut records).unwrap();
        assert_eq!(records.values("overlong"), [1.0, 2.0]);

        let strict = SftConfig { overlong: Overlong::Error, ..config(1) };
        let error = strict.fit_examples(decoder(1), &examples, 1, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::Overlong { index: 1, tokens: 17, context: 16 }), "{error}");
        let error =
            config(1).fit_examples(decoder(1), &examples[1..2], 1, &mut Silent).unwrap_err();
        assert!(matches!(error, Error::NoExamples { overlong: 1 }), "{error}");
    }

    #[test]
    fn names_the_step_where_it_diverges() {
        let mut config = config(3);
        config.optimizer.learning_rate = 1e30;
        let error = config.fit_examples(decoder(1), &counting(4), 1, &mut Silent).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("at step 2 of sft"), "{message}");
    }
}
