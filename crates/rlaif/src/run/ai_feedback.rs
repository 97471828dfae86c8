//! Pairs of replies by SL-CAI and their labels: harmlessness by the judge (section 4.1), helpfulness by people.
//!
//! In the embedded world its oracle stands in the place of people. For any other model nobody is at hand, so the judge
//! labels helpfulness too, by a principle of its own; the results say so.

use super::helpfulness::helpfulness_constitution;
use super::lending::Lending;
use super::recorded::Recorded;
use super::session::CHUNK;
use super::stage_progress::StageProgress;
use super::world::{contrast, share_for_a};
use super::{Checkpoint, Error, Labeller, Session, Stage};
use ai_feedback::{FeedbackConfig, Label, label, pair_id};
use burn::tensor::backend::AutodiffBackend;
use constitution::{Constitution, Drawing};
use dataset::{Journal, write_jsonl};
use dialogue::{Comparison, Dialogue, Preference};
use language_model::{Generate, Meter, Prompt, item_seed, stream};
use model_organism::garble;
use rand::Rng;
use std::collections::HashSet;
use training::Observe;

/// Of so many pairs in the embedded world, the reply of one is garbled.
const GARBLE_EVERY: usize = 2;

/// The name of the labels of harmlessness, of their journal and in their random streams.
pub(super) const LABELS: &str = "labels";

/// The journal of the replies that pairs are made of.
const REPLIES: &str = "replies.journal";

/// How pairs are labelled, and the name of the journal.
struct Labelling<'a> {
    judge: &'a Lending<'a>,
    constitution: &'a Constitution,
    config: &'a FeedbackConfig,
    name: &'a str,
}

impl<B: AutodiffBackend> Session<B> {
    /// Writes `labels.jsonl` with everything behind each label, `report.json` with what they say about the judge, and for
    /// training `preferences.jsonl` (harmlessness) and `helpfulness.jsonl`.
    pub(super) fn ai_feedback(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        if self.settings.labeller == Labeller::Crowd {
            return self.crowd_feedback(observe);
        }
        let stage = Stage::AiFeedback;
        let policy = self.fixed(Checkpoint::SlCai)?;
        let meter = Meter::default();
        let judge = self.lent_judge(stage, &meter)?;
        let policy = meter.watch(&policy);
        let policy = self.recorded(&policy)?;
        let [red_team, helpful] = self.policy_prompts()?;
        let mut progress = self.pair_progress(&policy, [&red_team, &helpful], &meter, observe)?;
        let config = &self.settings.ai_feedback;
        let labelling =
            Labelling { judge: &judge, constitution: &self.constitution, config, name: LABELS };
        let labels = self.labels(&policy, &labelling, &red_team, &mut progress)?;
        if labels.is_empty() {
            return Err(no_pairs());
        }
        let helpfulness = if self.in_world() {
            self.helpfulness_by_oracle(&policy, &helpful, &mut progress)?
        } else {
            let config = &FeedbackConfig {
                principles: Drawing::default(),
                principles_per_comparison: 1,
                ..config.clone()
            };
            let constitution = &helpfulness_constitution();
            let labelling = Labelling { judge: &judge, constitution, config, name: "helpfulness" };
            let labels = self.labels(&policy, &labelling, &helpful, &mut progress)?;
            let preferences = labels.iter().map(Label::preference).collect();
            write_jsonl(self.folder.file(stage, "helpfulness_labels.jsonl")?, labels)?;
            preferences
        };
        judge.ask(|judge| self.report_labels(judge, &labels))?;
        let harmlessness: Vec<Preference> = labels.iter().map(Label::preference).collect();
        write_jsonl(self.folder.file(stage, "labels.jsonl")?, labels)?;
        write_jsonl(self.folder.file(stage, "preferences.jsonl")?, harmlessness)?;
        write_jsonl(self.folder.file(stage, "helpfulness.jsonl")?, helpfulness)?;
        judge.forget()?;
        progress.finish()
    }

    /// Draws pairs of replies to `prompts` and labels them, chunk by chunk through a journal.
    fn labels(
        &self,
        policy: &impl Generate,
        labelling: &Labelling<'_>,
        prompts: &[Dialogue],
        progress: &mut StageProgress<'_>,
    ) -> Result<Vec<Label>, Error> {
        let Labelling { judge, constitution, config, name } = *labelling;
        let seed = item_seed(self.settings.seed, &["ai_feedback", name]);
        let count = self.settings.pairs_per_prompt;
        let path = self.folder.file(Stage::AiFeedback, &format!("{name}.journal"))?;
        let mut journal: Journal<Label> =
            Journal::open(&path, &self.settings.seed, |label: &Label| label.id.clone())?;
        let mut ids = Vec::new();
        let mut seen = HashSet::new();
        for prompts in prompts.chunks(CHUNK) {
            let mut pairs = self.pairs(policy, prompts, count)?;
            if self.in_world() {
                pairs.extend(self.garbled(&pairs));
            }
            pairs.retain(|pair| !pair.is_even() && seen.insert(pair_id(pair)));
            ids.extend(pairs.iter().map(pair_id));
            pairs.retain(|pair| !journal.contains(&pair_id(pair)));
            judge.ask(|judge| {
                Ok(journal.append(label(judge, constitution, &pairs, config, seed)?)?)
            })?;
            progress.advance(prompts.len())?;
        }
        Ok(journal.finish(&ids)?)
    }

    /// The first reply of every other pair beside a garbled copy of it, in a drawn order: a preference model that never
    /// saw such replies could not tell the policy to keep away from them.
    pub(super) fn garbled(&self, pairs: &[Comparison]) -> Vec<Comparison> {
        pairs
            .iter()
            .step_by(GARBLE_EVERY)
            .map(|pair| {
                let mut rng = stream(item_seed(self.settings.seed, &["garble", &pair_id(pair)]));
                let whole = pair.replies[0].clone();
                let beside = Comparison {
                    prompt: pair.prompt.clone(),
                    replies: [garble(&whole, &mut rng), whole],
                };
                if rng.random() { beside } else { beside.swapped() }
            })
            .collect()
    }

    /// The policy, each of whose replies is drawn once, whatever is killed.
    pub(super) fn recorded<'a>(&self, policy: &'a dyn Generate) -> Result<Recorded<'a>, Error> {
        let path = self.folder.file(Stage::AiFeedback, REPLIES)?;
        Ok(Recorded::open(policy, &path, self.settings.seed)?)
    }

    /// Begins to show how many prompts are done: those whose replies were drawn by a process that was killed were labelled
    /// by it, too, but for a few.
    pub(super) fn pair_progress<'a>(
        &self,
        policy: &Recorded<'_>,
        prompts: [&[Dialogue]; 2],
        meter: &'a Meter,
        observe: &'a mut dyn Observe,
    ) -> Result<StageProgress<'a>, Error> {
        let all = || prompts.into_iter().flatten();
        let before = all().filter(|prompt| policy.holds(&self.sample(prompt, 0))).count();
        StageProgress::start(Stage::AiFeedback, all().count(), before, meter, observe)
    }

    /// What a reply of a pair is drawn by.
    fn sample(&self, prompt: &Dialogue, number: usize) -> Prompt {
        let seed = item_seed(self.settings.seed, &["pairs", &prompt.id(), &number.to_string()]);
        Prompt { dialogue: prompt.clone(), seed }
    }

    /// `count` pairs of replies to each prompt.
    pub(super) fn pairs(
        &self,
        policy: &impl Generate,
        prompts: &[Dialogue],
        count: usize,
    ) -> Result<Vec<Comparison>, Error> {
        let asked: Vec<Prompt> = prompts
            .iter()
            .flat_map(|prompt| (0..2 * count).map(|number| self.sample(prompt, number)))
            .collect();
        let mut replies =
            policy.generate(&asked, &self.settings.critique_revision.reply)?.into_iter();
        let mut pairs = Vec::with_capacity(prompts.len() * count);
        for prompt in prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, count)) {
            if let (Some(a), Some(b)) = (replies.next(), replies.next()) {
                pairs.push(Comparison { prompt: prompt.clone(), replies: [a.text, b.text] });
            }
        }
        Ok(pairs)
    }

    /// Helpfulness by the raters of the world: of two replies by the policy, and of one and a contrast.
    pub(super) fn helpfulness_by_oracle(
        &self,
        policy: &impl Generate,
        prompts: &[Dialogue],
        progress: &mut StageProgress<'_>,
    ) -> Result<Vec<Preference>, Error> {
        let mut preferences = Vec::new();
        for prompts in prompts.chunks(CHUNK) {
            for pair in self.pairs(policy, prompts, 1)? {
                let beside = |other: &str| Comparison {
                    prompt: pair.prompt.clone(),
                    replies: [pair.replies[0].clone(), other.to_owned()],
                };
                let seed = self.settings.seed;
                let contrast = contrast(&pair.prompt, &pair.replies[0], seed);
                let pairs = [Some(pair.clone()), contrast.as_deref().map(beside)];
                preferences.extend(
                    pairs.into_iter().flatten().filter(|pair| !pair.is_even()).filter_map(|pair| {
                        let share = share_for_a(&pair, None)?;
                        Some(Preference::from_comparison(pair, share))
                    }),
                );
            }
            progress.advance(prompts.len())?;
        }
        Ok(preferences)
    }
}

/// There is nothing to label.
pub(super) fn no_pairs() -> Error {
    let message = "both replies to every prompt are the same text; raise `critique_revision.reply.temperature`";
    Error::Nothing { stage: Stage::AiFeedback, message: message.to_owned() }
}
