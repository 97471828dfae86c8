//! Fine-tuning on the best of several replies, before the first round.

use crate::cursor::Cursor;
use crate::renamed::Renamed;
use crate::rollout::{Rollout, draw, penalised, refuse_silence, score};
use crate::run::STAGE;
use crate::states::States;
use crate::{BestOfN, Error, Inputs, Phase, PpoConfig};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use dialogue::Dialogue;
use language_model::{Prompt, item_seed};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sft::Example;
use std::collections::HashSet;
use training::{Checkpoint, Observe, Owner, State, start_stage};
use transformer::{Decoder, Transformer};

/// What the drawing and the fine-tuning are called before those who watch.
const DRAWING: &str = "ppo_best_of_n";
const TUNING: &str = "ppo_best_of_n_sft";

/// The value of a state that holds a [`Progress`].
const PROGRESS: &str = "best_of_n";

/// How far it has come.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Progress {
    /// Groups of prompts that were replied to.
    drawn: u64,
    /// The best reply to each of their prompts.
    lessons: Vec<Lesson>,
    /// Steps of fine-tuning that were taken.
    tuned: u64,
    /// The values of the state of the fine-tuning.
    values: Map<String, Value>,
}

impl Progress {
    /// A state, numbered by the groups and the steps so far.
    fn state(&self, files: Vec<(String, Vec<u8>)>) -> State {
        let progress = serde_json::to_value(self).unwrap_or_default();
        let values = [(PROGRESS.to_owned(), progress)].into_iter().collect();
        State { step: self.drawn + self.tuned, values, files, folder: None }
    }
}

/// The number of the state that the first round begins with: one more than there are groups of prompts and, at most,
/// steps of fine-tuning, each of which has at least one lesson. 0 if nothing comes before the first round.
pub(crate) fn last_before_rounds(config: &PpoConfig, prompts: usize) -> u64 {
    let Some(best) = &config.best_of_n_start else { return 0 };
    let lessons = best.prompts.min(prompts);
    let groups = lessons.div_ceil(config.prompts_per_iteration) as u64;
    let steps = best.sft.epochs.saturating_mul(lessons as u64);
    let steps = steps.min(best.sft.max_steps.unwrap_or(u64::MAX));
    groups.saturating_add(steps).saturating_add(1)
}

/// Checks, before anything is drawn, that fine-tuning can hold prompts out, if it is asked to.
pub(crate) fn check_held_out<B: AutodiffBackend>(
    best: &BestOfN,
    inputs: &Inputs<'_, B>,
    seed: u64,
) -> Result<(), Error> {
    let share = best.sft.held_out;
    if share == 0.0 {
        return Ok(());
    }
    // Fine-tuning tells prompts apart by their tokens.
    let codec = &inputs.policy.codec;
    let prompts = chosen_prompts(best, inputs.prompts, seed_of_start(seed)).into_iter();
    let prompts: HashSet<Vec<u32>> =
        prompts.map(|prompt| codec.encode_prompt(prompt)).collect::<Result<_, _>>()?;
    if prompts.len() < 2 {
        return Err(sft::Error::NothingHeldOut { share, prompts: prompts.len() }.into());
    }
    Ok(())
}

/// The seed of all that comes before the first round.
fn seed_of_start(seed: u64) -> u64 {
    item_seed(seed, &[STAGE, "best_of_n"])
}

/// The prompts that are replied to, in a random order.
fn chosen_prompts<'a>(best: &BestOfN, all: &'a [Dialogue], seed: u64) -> Vec<&'a Dialogue> {
    let mut cursor = Cursor::new("best_of_n", all.len(), seed, 0);
    (0..best.prompts.min(all.len())).map(|_| &all[cursor.advance()]).collect()
}

/// A reply that is learned.
#[derive(Debug, Serialize, Deserialize)]
struct Lesson {
    /// Prompt and reply, as they were drawn.
    tokens: Vec<u32>,
    /// Where the reply begins.
    reply_start: usize,
}

impl Lesson {
    fn new(rollout: &Rollout) -> Self {
        Self { tokens: rollout.tokens.clone(), reply_start: rollout.reply_start }
    }

    /// The tokens that were drawn are learned, the prompt is not.
    fn example(&self) -> Example {
        let weight = |place| f32::from(u8::from(place >= self.reply_start));
        let weights = (0..self.tokens.len()).map(weight).collect();
        Example { tokens: self.tokens.clone(), weights }
    }
}

/// Draws several replies a prompt and learns the best of each, or goes on with it where a killed process was.
pub(crate) fn learn_the_best<B: AutodiffBackend>(
    config: &PpoConfig,
    best: &BestOfN,
    inputs: &Inputs<'_, B>,
    seed: u64,
    observe: &mut dyn Observe,
    states: &mut States<'_>,
) -> Result<Decoder<B>, Error> {
    let seed = seed_of_start(seed);
    let (mut progress, mut found) = (Progress::default(), State::default());
    if let Some(state) = states.found() {
        progress = state.value(PROGRESS)?;
        found = std::mem::take(state);
    }
    let drawing = Drawing { config, best, inputs, seed };
    drawing.finish(&mut progress, observe, states)?;
    let examples: Vec<Example> = progress.lessons.iter().map(Lesson::example).collect();
    let decoder = inputs.policy.decoder.clone();
    let mut observe = Renamed { observe, stage: TUNING };
    let mut states = TuningStates { states, progress, found };
    Ok(best.sft.fit_examples(decoder, &examples, seed, &mut observe, &mut states)?)
}

/// What the replies are drawn with.
struct Drawing<'a, B: AutodiffBackend> {
    config: &'a PpoConfig,
    best: &'a BestOfN,
    inputs: &'a Inputs<'a, B>,
    seed: u64,
}

impl<B: AutodiffBackend> Drawing<'_, B> {
    /// Draws what is left, as many prompts at once as in a round.
    fn finish(
        &self,
        progress: &mut Progress,
        observe: &mut dyn Observe,
        states: &mut States<'_>,
    ) -> Result<(), Error> {
        let prompts = chosen_prompts(self.best, self.inputs.prompts, self.seed);
        let groups: Vec<&[&Dialogue]> = prompts.chunks(self.config.prompts_per_iteration).collect();
        let (all, done) = (groups.len() as u64, progress.drawn);
        if done >= all {
            return Ok(());
        }
        let Transformer { decoder, codec, engine } = self.inputs.policy.clone();
        let policy = Transformer { decoder: decoder.valid(), codec, engine };
        start_stage(observe, DRAWING, all, done)?;
        for (number, group) in (1..=all).zip(groups).filter(|&(number, _)| number > done) {
            let rollouts = self.replies(&policy, group)?;
            // The policy stays as it is, so that the first group tells; a small last one may be silent by chance.
            if number == 1 {
                refuse_silence(&rollouts, Phase::Start)?;
            }
            let (lessons, metrics) = self.best_of(&rollouts)?;
            observe.record(number, &metrics)?;
            progress.lessons.extend(lessons);
            progress.drawn = number;
            // Records of the fine-tuning take the place of these, so that it must not begin before all are kept.
            if number == all || states.is_due(number) {
                observe.sync()?;
                states.save_before_rounds(progress.state(Vec::new()))?;
            }
        }
        Ok(observe.finish()?)
    }

    /// Several replies to each of some prompts, those to the same next to each other.
    fn replies(
        &self,
        policy: &Transformer<B::InnerBackend>,
        prompts: &[&Dialogue],
    ) -> Result<Vec<Rollout>, Error> {
        let mut asked = Vec::new();
        for &dialogue in prompts {
            let id = dialogue.id();
            asked.extend((0..self.best.samples).map(|sample| {
                let seed = item_seed(self.seed, &[&id, &sample.to_string()]);
                Prompt { dialogue: dialogue.clone(), seed }
            }));
        }
        draw(policy, asked, self.config).map_err(|error| error.at(Phase::Start))
    }

    /// The best reply to each prompt, and what is recorded of all replies.
    fn best_of(&self, rollouts: &[Rollout]) -> Result<(Vec<Lesson>, Drawn), Error> {
        let scores = score(self.inputs.reward, rollouts, Phase::Start)?;
        let penalised = penalised(rollouts, &scores, self.config.missing_end_penalty);
        let best = best_of_each(rollouts, &penalised, self.best.samples);
        let metrics = [
            ("replies", rollouts.len() as f64),
            ("score_mean", mean(scores.iter().copied())),
            ("best_score_mean", mean(best.iter().map(|&(_, score)| score))),
        ];
        Ok((best.into_iter().map(|(rollout, _)| Lesson::new(rollout)).collect(), metrics))
    }
}

/// What is recorded of the replies that were drawn.
type Drawn = [(&'static str, f64); 3];

/// The reply with the highest score of each prompt; the `samples` replies to a prompt stand next to each other.
fn best_of_each<'a>(
    rollouts: &'a [Rollout],
    scores: &[f32],
    samples: usize,
) -> Vec<(&'a Rollout, f32)> {
    rollouts
        .chunks(samples)
        .zip(scores.chunks(samples))
        .filter_map(|(rollouts, scores)| {
            let scored = rollouts.iter().zip(scores.iter().copied());
            scored.max_by(|one, other| one.1.total_cmp(&other.1))
        })
        .collect()
}

fn mean(numbers: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = numbers.len().max(1) as f64;
    numbers.map(f64::from).sum::<f64>() / count
}

/// Keeps the states of the fine-tuning within those of the run, beside what is learned.
struct TuningStates<'a, 'b> {
    states: &'a mut States<'b>,
    progress: Progress,
    /// The state that was found.
    found: State,
}

/// Whom a state belongs to need not be asked: all that decides the fine-tuning decides the run.
impl Checkpoint for TuningStates<'_, '_> {
    fn keeps(&self) -> bool {
        self.states.keeps()
    }

    fn load(
        &mut self,
        _owner: &Owner,
        _observe: &mut dyn Observe,
    ) -> Result<Option<State>, training::Error> {
        let step = self.progress.tuned;
        let values = std::mem::take(&mut self.progress.values);
        let found = std::mem::take(&mut self.found);
        Ok((step > 0).then_some(State { step, values, ..found }))
    }

    fn is_due(&mut self, step: u64) -> bool {
        self.states.is_due(step)
    }

    fn save(&mut self, _owner: &Owner, state: State) -> Result<(), training::Error> {
        self.progress.tuned = state.step;
        self.progress.values = state.values;
        self.states.save_before_rounds(self.progress.state(state.files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::StopReason;

    fn rollout(reply: &str, stopped: StopReason) -> Rollout {
        Rollout {
            prompt: Dialogue::from_user("q"),
            reply: reply.to_owned(),
            tokens: vec![1, 2, 3],
            reply_start: 1,
            engine_log_probs: vec![0.0, 0.0],
            slots_after: 0,
            stopped,
        }
    }

    #[test]
    fn a_cut_reply_is_not_taught_for_its_raw_score() {
        let rollouts = [
            rollout("cut", StopReason::Length),
            rollout("whole", StopReason::Stop),
            rollout("worse", StopReason::Stop),
            rollout("much better", StopReason::Length),
        ];
        let scores = [1.5, 1.0, 1.0, 2.5];
        let best = |penalty| -> Vec<String> {
            let scores = penalised(&rollouts, &scores, penalty);
            let best = best_of_each(&rollouts, &scores, 2);
            best.iter().map(|(best, _)| best.reply.clone()).collect()
        };
        assert_eq!(best(0.0), ["cut", "much better"]);
        assert_eq!(best(1.0), ["whole", "much better"]);
        assert_eq!(best(2.0), ["whole", "worse"]);
    }

    #[test]
    fn the_reply_alone_is_learned() {
        let found = Lesson::new(&rollout("a", StopReason::Stop)).example();
        assert_eq!((found.tokens, found.weights), (vec![1, 2, 3], vec![0.0, 1.0, 1.0]));
    }
}
