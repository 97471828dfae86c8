//! Fitting a model to examples.

use crate::draw::{Listed, Streamed};
use crate::lesson::Lessons;
use crate::mixture::{Part, check_names};
use crate::train::Plan;
use crate::{Error, Example, SftConfig, Source};
use burn::tensor::backend::AutodiffBackend;
use dialogue::Dialogue;
use language_model::{item_seed, stream};
use training::{Checkpoint, Observe, Overlong, batches, check_planned};
use transformer::{Decoder, Transformer, learning_paths};

/// The name of the stage in records, errors and random streams.
pub(crate) const STAGE: &str = "sft";

/// The source of those who give but one list.
const ONLY: &str = "examples";

impl SftConfig {
    /// Fits a model to the assistant's turns of dialogues.
    ///
    /// This is [`SftConfig::fit_mixture`] of one source; see there.
    ///
    /// # Errors
    /// Those of [`SftConfig::fit_mixture`].
    pub fn fit<B: AutodiffBackend>(
        &self,
        model: Transformer<B>,
        dialogues: &[Dialogue],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Transformer<B>, Error> {
        let source = Source { name: ONLY, items: dialogues };
        self.fit_mixture(model, &[source], seed, observe, checkpoint)
    }

    /// Fits a model to the assistant's turns of dialogues of several sources, `epochs` times over all of them.
    ///
    /// An epoch sees every dialogue of source `s` `weights[s]` times, once if the settings do not name it. So with `n_s`
    /// dialogues the source makes up the share `weights[s] n_s / sum_t weights[t] n_t` of all examples. A source is gone
    /// through in shuffled passes, each of which sees every dialogue once; a weight that is not whole ends an epoch within
    /// a pass, and the next epoch goes on there. Then all sources are shuffled together.
    ///
    /// A dialogue that is longer than the context is dropped, is an error, or loses its oldest exchanges, as `overlong`
    /// says; its last reply is never cut, and system messages stay.
    ///
    /// With `held_out`, that share of the prompts measures the model: after every `evaluate_every` steps and the last.
    /// Dialogues with the same prompt, that is all before the first reply, as they came or as the model sees them without
    /// their oldest turns, are on the same side, of whatever source. With `patience` the weights of the lowest loss are
    /// given back, also if training was not stopped.
    ///
    /// With `lora` a fresh adapter learns and everything else stays as it is; the result carries the adapter, to be merged
    /// or saved. An adapter that the model came with goes on learning alone.
    ///
    /// Every step records `loss` (nats a token, before the update), `learning_rate`, `gradient_norm` (before clipping),
    /// `tokens` (all that the model has to read of every example), `loss_tokens` (those that carry a loss), `examples`,
    /// `overlong` and `shortened` (dialogues left out and without their oldest turns, of all), and if there are several
    /// sources `examples_NAME` of each. Steps that measure add `held_out_loss` (nats a token, after the update).
    ///
    /// Interrupted and called again with the same arguments and the states that `checkpoint` kept, it goes on to the same
    /// bits, records and weights alike.
    ///
    /// # Errors
    /// If a setting is out of range or does not fit the model, a dialogue cannot be rendered or has no assistant turn, no
    /// dialogue fits the context, the weights of the sources draw none or too many to plan, the loss, the gradient or a weight of
    /// the result is not finite, a state cannot be kept or is of another fitting, or a record cannot be written.
    ///
    /// # References
    /// Constitutional AI (arXiv 2212.08073), section 3.2: revisions of all steps and helpful replies together.
    pub fn fit_mixture<B: AutodiffBackend>(
        &self,
        model: Transformer<B>,
        sources: &[Source<'_, Dialogue>],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Transformer<B>, Error> {
        let names = self.check(sources)?;
        let Transformer { decoder, codec, engine } = model;
        let lessons =
            Lessons::of_dialogues(&codec, decoder.config(), sources, self.overlong, seed)?;
        let decoder = self.fit_lessons(decoder, &lessons, &names, seed, observe, checkpoint)?;
        Ok(Transformer { decoder, codec, engine })
    }

    /// Fits a decoder to examples, `epochs` times over all of them.
    ///
    /// As [`SftConfig::fit`], but that examples have no turns: with `overlong = "oldest_turns"` those that are longer than
    /// the context are dropped. The prompt of an example is what stands before the first token that carries a loss.
    ///
    /// # Errors
    /// Those of [`SftConfig::fit`]; also if an example contradicts itself or the vocabulary.
    pub fn fit_examples<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        examples: &[Example],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Decoder<B>, Error> {
        let source = Source { name: ONLY, items: examples };
        self.fit_example_mixture(decoder, &[source], seed, observe, checkpoint)
    }

    /// Fits a decoder to examples of several sources; see [`SftConfig::fit_mixture`] and [`SftConfig::fit_examples`].
    ///
    /// # Errors
    /// Those of [`SftConfig::fit_examples`].
    pub fn fit_example_mixture<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        sources: &[Source<'_, Example>],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Decoder<B>, Error> {
        let names = self.check(sources)?;
        let lessons = Lessons::of_examples(decoder.config(), sources, self.overlong, seed)?;
        self.fit_lessons(decoder, &lessons, &names, seed, observe, checkpoint)
    }

    /// Fits a decoder to examples that are made when they are due, as in pretraining: `examples(step)` gives all those of
    /// a step, counted from 0, so that no more than one step is held in memory.
    ///
    /// `steps` takes the place of `epochs`, `max_steps` and `tokens_per_step`; nothing can be held out of a stream. The
    /// records are those of [`SftConfig::fit_examples`], but for `shortened`; `overlong` counts those dropped so far. Where
    /// they are set all the same, `max_steps`, `held_out` and `weights` are refused.
    ///
    /// If states are kept, `examples` must depend on the step alone. A fitting that goes on asks for the examples of the last
    /// step before the interruption again, to find out whether the stream is the same.
    ///
    /// # Errors
    /// Those of [`SftConfig::fit_examples`]; a step must have an example that fits the context.
    pub fn fit_stream<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        steps: u64,
        examples: impl FnMut(u64) -> Vec<Example>,
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Decoder<B>, Error> {
        self.validate_for_stream()?;
        let decoder = self.with_adapter(decoder, seed)?;
        let mut draw = Streamed::new(self, decoder.config(), examples);
        let plan = Plan { steps, seed, held_out: &[] };
        self.train(decoder, plan, &mut draw, observe, checkpoint)
    }

    /// Checks that every group of the optimiser has a parameter, as fitting this decoder does before its first step. One of the
    /// same shape will do.
    ///
    /// # Errors
    /// [`training::Error::EmptyGroup`], or an adapter that the decoder cannot take.
    pub fn check_optimizer<B: AutodiffBackend>(&self, decoder: Decoder<B>) -> Result<(), Error> {
        // What an adapter begins with changes no path.
        self.check_groups(&self.with_adapter(decoder, 0)?)
    }

    /// The same of a decoder with the adapter that the settings ask for.
    pub(crate) fn check_groups<B: AutodiffBackend>(
        &self,
        decoder: &Decoder<B>,
    ) -> Result<(), Error> {
        Ok(self.optimizer.check_groups("optimizer", &learning_paths(decoder))?)
    }

    /// False if what is longer than the context is an error.
    pub(crate) fn leaves_out(&self) -> bool {
        self.overlong != Overlong::Error
    }

    /// Checks what can be checked before anything is tokenised, and gives the names of the sources.
    fn check<'a, T>(&self, sources: &[Source<'a, T>]) -> Result<Vec<&'a str>, Error> {
        self.validate()?;
        check_names(sources)?;
        let names: Vec<&str> = sources.iter().map(|source| source.name).collect();
        self.validate_sources(&names)?;
        Ok(names)
    }

    fn fit_lessons<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        lessons: &Lessons<'_>,
        names: &[&str],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Decoder<B>, Error> {
        let decoder = self.with_adapter(decoder, seed)?;
        let (training, held_out) = lessons.split(self.held_out)?;
        if training.is_empty() {
            return Err(Error::NoExamples { overlong: lessons.overlong });
        }
        let steps = self.order(lessons, &training, names, seed)?;
        if steps.is_empty() {
            let found = format!("too low to draw one of {} examples", training.len());
            let (setting, expected) = ("weights", "a higher one, or more `epochs`");
            return Err(training::Error::Setting { setting, found, expected }.into());
        }
        let several = if names.len() > 1 { names } else { &[] };
        let names = several.iter().map(|name| format!("examples_{name}")).collect();
        let held_out: Vec<&Example> =
            held_out.iter().map(|&place| lessons.kept[place].example.as_ref()).collect();
        let plan = Plan { steps: steps.len() as u64, seed, held_out: &held_out };
        let mut draw = Listed { lessons, steps, names };
        self.train(decoder, plan, &mut draw, observe, checkpoint)
    }

    /// The lessons of every step of all epochs, as places.
    fn order(
        &self,
        lessons: &Lessons<'_>,
        training: &[usize],
        names: &[&str],
        seed: u64,
    ) -> Result<Vec<Vec<usize>>, Error> {
        let part = |(source, &name)| {
            let of_source = |&&place: &&usize| lessons.kept[place].source == source;
            let places = training.iter().filter(of_source).copied().collect();
            Part { name, weight: self.weights.get(name).copied().unwrap_or(1.0), places }
        };
        let parts: Vec<Part<'_>> = names.iter().enumerate().map(part).collect();
        // An epoch is planned as a whole, and with `max_steps` no more of them than are needed.
        let planned = if self.max_steps.is_some() { 1 } else { self.epochs };
        let an_epoch: f64 = parts.iter().map(|part| part.weight * part.places.len() as f64).sum();
        check_planned(self.epochs, an_epoch * planned as f64)?;
        let mut rng = stream(item_seed(seed, &[STAGE, "order"]));
        let epochs = (0..self.epochs).flat_map(|epoch| {
            let drawn: Vec<usize> = parts.iter().flat_map(|part| part.epoch(epoch, seed)).collect();
            let length = |&place: &usize| lessons.kept[place].example.inputs().len();
            let lengths: Vec<usize> = drawn.iter().map(length).collect();
            let steps = batches(&lengths, self.tokens_per_step, &mut rng);
            let places = |step: Vec<usize>| step.into_iter().map(|row| drawn[row]).collect();
            steps.into_iter().map(places).collect::<Vec<Vec<usize>>>()
        });
        let most = self.max_steps.and_then(|most| usize::try_from(most).ok());
        Ok(epochs.take(most.unwrap_or(usize::MAX)).collect())
    }

    /// The decoder with the adapter that the settings ask for.
    fn with_adapter<B: AutodiffBackend>(
        &self,
        decoder: Decoder<B>,
        seed: u64,
    ) -> Result<Decoder<B>, Error> {
        match (&self.lora, decoder.adapter()) {
            (None, _) => Ok(decoder),
            (Some(_), Some(_)) => Err(Error::HasAdapter),
            (Some(lora), None) => {
                Ok(decoder.with_adapter(lora, item_seed(seed, &[STAGE, "adapter"]))?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate;
    use crate::testing::{B, Records, codec, counting, decoder, numbers};
    use burn::module::AutodiffModule;
    use language_model::{Generate, Prompt, Sampling, StopReason};
    use training::{NoCheckpoints, OptimizerConfig, ParameterGroup, Schedule, Silent};
    use transformer::LoraConfig;

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
        let fitted = config(30)
            .fit_examples(decoder(1), &examples, 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        let after = loss(&fitted, &examples);
        assert!(before > 2.0 && after < 0.2, "{before} {after}");

        let steps = records.steps.len() as u64;
        assert_eq!(records.started, Some(("sft".to_owned(), steps)));
        assert!(steps > 50 && records.steps.iter().copied().eq(1..=steps) && records.finished);
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
        let fitted =
            config(60).fit(model, &dialogues, 1, &mut Silent, &mut NoCheckpoints).unwrap().valid();
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
            let fitted = config(2)
                .fit_examples(decoder(1), &examples, seed, &mut Silent, &mut NoCheckpoints)
                .unwrap();
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
        config.fit_examples(decoder(1), &examples, 1, &mut listed, &mut NoCheckpoints).unwrap();
        let mut asked = Vec::new();
        let draw = |step| {
            asked.push(step);
            examples.clone()
        };
        config.fit_stream(decoder(1), 3, draw, 1, &mut streamed, &mut NoCheckpoints).unwrap();
        assert_eq!(asked, [0, 1, 2]);
        for (listed, streamed) in listed.values("loss").iter().zip(streamed.values("loss")) {
            assert!((listed - streamed).abs() < 1e-5, "{listed} {streamed}");
        }
    }

    #[test]
    fn stops_after_the_most_steps() {
        let mut records = Records::default();
        let config = SftConfig { max_steps: Some(3), ..config(100) };
        config
            .fit_examples(decoder(1), &counting(24), 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        assert_eq!(records.steps, [1, 2, 3]);
        assert_eq!(records.started, Some(("sft".to_owned(), 3)));
    }

    #[test]
    fn drops_and_counts_what_is_too_long_or_says_so() {
        let mut examples = counting(2);
        examples.insert(1, Example::unmasked(vec![1; 17]));
        let mut records = Records::default();
        config(1).fit_examples(decoder(1), &examples, 1, &mut records, &mut NoCheckpoints).unwrap();
        assert_eq!(records.values("overlong").first(), Some(&1.0));

        let mut records = Records::default();
        config(1)
            .fit_stream(decoder(1), 2, |_| examples.clone(), 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        assert_eq!(records.values("overlong"), [1.0, 2.0]);

        let strict = SftConfig { overlong: Overlong::Error, ..config(1) };
        let error = strict
            .fit_examples(decoder(1), &examples, 1, &mut Silent, &mut NoCheckpoints)
            .unwrap_err();
        assert!(error.to_string().starts_with("example 1 of `examples` has 17 tokens"), "{error}");
        let error = strict
            .fit_stream(decoder(1), 2, |_| examples.clone(), 1, &mut Silent, &mut NoCheckpoints)
            .unwrap_err();
        assert!(
            error.to_string().starts_with("example 1 of step 0 of the stream has 17"),
            "{error}"
        );
        let error = config(1)
            .fit_examples(decoder(1), &examples[1..2], 1, &mut Silent, &mut NoCheckpoints)
            .unwrap_err();
        assert!(matches!(error, Error::NoExamples { overlong: 1 }), "{error}");
    }

    #[test]
    fn names_the_step_where_it_diverges() {
        let mut config = config(3);
        config.optimizer.learning_rate = 1e30;
        let error = config
            .fit_examples(decoder(1), &counting(4), 1, &mut Silent, &mut NoCheckpoints)
            .unwrap_err();
        let message = error.to_string();
        assert!(message.contains("at step 2 of sft"), "{message}");
    }

    #[test]
    fn a_last_step_that_diverges_gives_no_model() {
        for learning_rate in [1e30, 1e7] {
            let mut config = SftConfig { max_steps: Some(1), ..config(3) };
            config.optimizer.learning_rate = learning_rate;
            let mut records = Records::default();
            let error = config
                .fit_examples(decoder(1), &counting(4), 1, &mut records, &mut NoCheckpoints)
                .unwrap_err();
            let message = error.to_string();
            assert!(message.contains("at step 1 of sft: training has diverged"), "{message}");
            assert!(message.contains("a weight of `"), "{message}");
            assert!(!records.finished && records.steps.is_empty());
        }
    }

    fn dialogues() -> Vec<Dialogue> {
        let words = ["a", "b", "c"];
        let pairs =
            words.iter().flat_map(|request| words.iter().map(move |reply| (request, reply)));
        pairs.map(|(&q, &a)| Dialogue::from_user(q).with_assistant(a)).collect()
    }

    #[test]
    fn an_adapter_learns_and_nothing_else_moves() {
        let examples = counting(24);
        let lora =
            LoraConfig { target_modules: vec!["all-linear".to_owned()], ..LoraConfig::default() };
        let config = SftConfig { lora: Some(lora.clone()), ..config(10) };
        let fit =
            |decoder| config.fit_examples(decoder, &examples, 1, &mut Silent, &mut NoCheckpoints);
        let fitted = fit(decoder(1)).unwrap();
        assert!(loss(&fitted, &examples) < 0.7 * loss(&decoder(1), &examples));
        assert_eq!(fitted.adapter(), Some(&lora));
        assert_eq!(numbers(&fitted.without_adapter()), numbers(&decoder(1)));

        // The adapter that a model has goes on learning, and is not replaced.
        let error = fit(fitted.clone()).unwrap_err();
        assert!(matches!(error, Error::HasAdapter), "{error}");
        let without = SftConfig { lora: None, ..config.clone() };
        let before = loss(&fitted, &examples);
        let further =
            without.fit_examples(fitted, &examples, 1, &mut Silent, &mut NoCheckpoints).unwrap();
        assert!(loss(&further, &examples) < before);
        assert_eq!(numbers(&further.without_adapter()), numbers(&decoder(1)));

        let lora = LoraConfig { rank: 0, ..lora };
        let config = SftConfig { lora: Some(lora), ..without };
        let error = config
            .fit_examples(decoder(1), &examples, 1, &mut Silent, &mut NoCheckpoints)
            .unwrap_err();
        assert!(error.to_string().starts_with("`lora.rank` is 0, expected "), "{error}");
    }

    #[test]
    fn a_mixture_of_equal_weights_is_all_sources_one_behind_the_other() {
        let all = dialogues();
        let (revisions, helpful) = all.split_at(4);
        let sources = [
            Source { name: "revisions", items: revisions },
            Source { name: "helpful", items: helpful },
        ];
        let config = config(3);
        let model = || Transformer::new(decoder(1), codec());
        let (mut one, mut other) = (Records::default(), Records::default());
        let listed = config.fit(model(), &all, 1, &mut one, &mut NoCheckpoints).unwrap();
        let mixed =
            config.fit_mixture(model(), &sources, 1, &mut other, &mut NoCheckpoints).unwrap();
        assert_eq!(numbers(&listed.decoder), numbers(&mixed.decoder));
        assert_eq!(one.values("loss"), other.values("loss"));
        other.assert_totals(&[("examples_revisions", 12.0), ("examples_helpful", 15.0)]);
        assert!(!one.metrics[0].iter().any(|(name, _)| name.starts_with("examples_")));
    }

    #[test]
    fn weights_are_how_often_an_epoch_sees_an_example() {
        let examples = counting(20);
        let (first, second) = examples.split_at(12);
        let sources = [Source { name: "a", items: first }, Source { name: "b", items: second }];
        let weights = [("a".to_owned(), 0.25), ("b".to_owned(), 2.0)].into();
        let config = SftConfig { weights, ..config(3) };
        let mut records = Records::default();
        let fit = |config: &SftConfig, records: &mut Records| {
            config.fit_example_mixture(decoder(1), &sources, 1, records, &mut NoCheckpoints)
        };
        fit(&config, &mut records).unwrap();
        records.assert_totals(&[("examples_a", 9.0), ("examples_b", 48.0), ("examples", 57.0)]);

        let weights = [("c".to_owned(), 1.0)].into();
        let error = fit(&SftConfig { weights, ..config.clone() }, &mut records).unwrap_err();
        assert!(matches!(error, Error::UnknownSource { .. }), "{error}");
        let weights = ["a", "b"].map(|name| (name.to_owned(), 0.0)).into();
        let none = SftConfig { weights, ..config.clone() };
        let message = fit(&none, &mut records).unwrap_err().to_string();
        assert!(message.starts_with("`weights` is 0 of every source"), "{message}");
        let weights = ["a", "b"].map(|name| (name.to_owned(), 1e-9)).into();
        let few = SftConfig { weights, ..config };
        let message = fit(&few, &mut records).unwrap_err().to_string();
        assert!(message.starts_with("`weights` is too low to draw one of 20"), "{message}");
    }

    #[test]
    fn more_than_can_be_planned_is_refused() {
        let examples = counting(200);
        let refused = |config: &SftConfig| {
            let (silent, none) = (&mut Silent, &mut NoCheckpoints);
            let error = config.fit_examples(decoder(1), &examples, 1, silent, none).unwrap_err();
            assert!(error.to_string().starts_with("`epochs` is "), "{error}");
        };
        let config = config(1_000_000);
        refused(&config);
        let weights = [("examples".to_owned(), 1e6)].into();
        refused(&SftConfig { weights, max_steps: Some(1), ..config.clone() });
        // What is never come to need not be planned.
        let short = SftConfig { max_steps: Some(1), ..config };
        let mut records = Records::default();
        short.fit_examples(decoder(1), &examples, 1, &mut records, &mut NoCheckpoints).unwrap();
        assert_eq!(records.steps, [1]);
    }

    #[test]
    fn what_is_held_out_measures_and_is_not_learnt() {
        let examples = counting(24);
        let config = SftConfig { held_out: 0.25, evaluate_every: Some(3), ..config(4) };
        let mut records = Records::default();
        let fitted = config
            .fit_examples(decoder(1), &examples, 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        // 24 different texts: 6 are held out.
        records.assert_totals(&[("examples", 4.0 * 18.0)]);
        let steps = records.steps.len() as u64;
        let measured: Vec<u64> = records.steps_with("held_out_loss");
        let expected: Vec<u64> =
            (1..=steps).filter(|step| step % 3 == 0 || *step == steps).collect();
        assert!(steps > 6 && measured == expected, "{measured:?} of {steps}");

        let sources = [Source { name: "examples", items: &examples }];
        let lessons =
            Lessons::of_examples(decoder(1).config(), &sources, Overlong::Drop, 1).unwrap();
        let (_, held_out) = lessons.split(0.25).unwrap();
        let held_out: Vec<Example> = held_out.iter().map(|&row| examples[row].clone()).collect();
        let last = records.newest("held_out_loss");
        assert!((loss(&fitted, &held_out) - last).abs() < 1e-5);
    }

    #[test]
    fn stops_when_the_held_out_loss_no_longer_falls_and_gives_the_best_back() {
        // What is learnt is counting down, what is held out counts up: the better the one, the worse the other.
        let (examples, config) = crate::testing::contrary();
        let mut records = Records::default();
        let fitted = config
            .fit_examples(decoder(1), &examples, 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        let losses = records.all("held_out_loss");
        let (planned, taken) = (records.started.clone().unwrap().1, records.steps.len() as u64);
        assert!(taken < planned && records.finished, "{taken} of {planned}");
        let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let place = losses.iter().position(|loss| loss.total_cmp(&least).is_eq()).unwrap();
        // The best, and as many worse ones as `patience` says.
        assert_eq!(losses.len(), place + 1 + 2, "{losses:?}");
        assert_eq!(records.notes.len(), 1);

        // The same training cut off at the best measurement ends in the same weights.
        let config = SftConfig { max_steps: Some(place as u64 + 1), patience: None, ..config };
        let mut again = Records::default();
        let best =
            config.fit_examples(decoder(1), &examples, 1, &mut again, &mut NoCheckpoints).unwrap();
        assert_eq!(numbers(&fitted), numbers(&best));
    }

    #[test]
    fn a_group_of_the_optimiser_needs_a_parameter_that_learns() {
        let fit = |names: &str, lora: Option<LoraConfig>| {
            let group =
                ParameterGroup { names: vec![names.to_owned()], ..ParameterGroup::default() };
            let mut config = SftConfig { lora, ..config(1) };
            config.optimizer.groups.push(group);
            config.fit_examples(decoder(1), &counting(4), 1, &mut Silent, &mut NoCheckpoints)
        };
        fit("embedding", None).unwrap();
        fit("adapter", Some(LoraConfig::default())).unwrap();
        // Beside an adapter everything else stays as it is.
        for (names, lora) in [("embeding", None), ("embedding", Some(LoraConfig::default()))] {
            let message = fit(names, lora).unwrap_err().to_string();
            assert!(message.contains(&format!("{names:?}")), "{message}");
            assert!(message.contains("layers.0."), "{message}");
        }
    }

    #[test]
    fn a_stream_takes_no_settings_of_lists() {
        for (config, name) in [
            (SftConfig { max_steps: Some(5), ..config(1) }, "max_steps"),
            (SftConfig { held_out: 0.5, ..config(1) }, "held_out"),
            (SftConfig { weights: [("a".to_owned(), 1.0)].into(), ..config(1) }, "weights"),
        ] {
            let error = config
                .fit_stream(decoder(1), 1, |_| counting(2), 1, &mut Silent, &mut NoCheckpoints)
                .unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{name}` is ")), "{error}");
        }
    }
}
