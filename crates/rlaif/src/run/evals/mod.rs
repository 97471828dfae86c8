//! The three policies on held-out prompts.
//!
//! In the embedded world the oracle counts; for any other model the preference model scores and the judge compares.

mod by_judge;
mod by_oracle;
mod labels;

use super::lending::Lending;
use super::ppo::CHECKPOINTS;
use super::results::RESULTS;
use super::session::{CHUNK, ids};
use super::stage_progress::StageProgress;
use super::{Checkpoint, Error, Session, Stage};
use ::critique_revision::Trace;
use burn::tensor::backend::AutodiffBackend;
use dataset::{Journal, read_jsonl, write_jsonl};
use dialogue::Dialogue;
use language_model::{Generate, Meter, Prompt, item_seed};
use report::{PromptKind, Reply, Results, Transcript};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Instant;
use training::Observe;

pub(crate) use by_oracle::rates;

/// Prompts of each kind that are shown with the replies of all policies.
const SHOWN: usize = 24;

/// A reply to a held-out prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    id: String,
    text: String,
}

/// What the policies say to the held-out prompts: finished dialogues, in the order of the prompts.
struct Answers {
    red_team: HashMap<Checkpoint, Vec<Dialogue>>,
    helpful: HashMap<Checkpoint, Vec<Dialogue>>,
    /// The helpful-only model's replies to red-team prompts, revised step by step.
    traces: Vec<Trace>,
}

impl<B: AutodiffBackend> Session<B> {
    /// Writes `results.json` and `transcripts.jsonl`.
    pub(super) fn evals(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let start = Instant::now();
        let meter = Meter::default();
        let (red_team, helpful) = (&self.prompts.held_out_red_team, &self.prompts.held_out_helpful);
        let replies = (red_team.len() + helpful.len()) * Checkpoint::ALL.len();
        let before = self.replies_before()?;
        let mut progress = StageProgress::start(Stage::Evals, replies, before, &meter, observe)?;
        let answers = self.answers(&meter, &mut progress)?;
        self.write_transcripts(&answers)?;
        if self.in_world() {
            self.write_results(self.by_oracle(&answers)?, start)?;
        } else {
            let judge = self.lent_judge(Stage::Evals, &meter)?;
            judge.ask(|judge| self.write_results(self.by_judge(&answers, judge)?, start))?;
            judge.forget()?;
        }
        progress.finish()
    }

    /// Writes what was measured, with the way of reinforcement learning and the seconds that the stages took.
    fn write_results(&self, mut results: Results, start: Instant) -> Result<(), Error> {
        // Looks at the policy need the oracle.
        if self.in_world() {
            results.ppo_checkpoints = read_jsonl(self.folder.file(Stage::Ppo, CHECKPOINTS)?)?;
        }
        for stage in Stage::ALL {
            if let Some(seconds) = self.folder.seconds(stage)? {
                results.seconds.insert(stage.name().to_owned(), seconds);
            }
        }
        results.seconds.insert(Stage::Evals.name().to_owned(), start.elapsed().as_secs_f64());
        self.write_json(Stage::Evals, RESULTS, &results)
    }

    /// How many replies a killed process had drawn.
    fn replies_before(&self) -> Result<usize, Error> {
        let (red_team, helpful) = (&self.prompts.held_out_red_team, &self.prompts.held_out_helpful);
        let revisions = self.revisions()?;
        let mut before = red_team.iter().filter(|prompt| revisions.contains(&prompt.id())).count();
        for checkpoint in Checkpoint::ALL {
            let replies = self.replies(checkpoint)?;
            let is_there = |prompt: &&Dialogue| replies.contains(&prompt.id());
            before += helpful.iter().filter(is_there).count();
            // Those of the first model are among the revisions.
            if checkpoint != Checkpoint::HelpfulOnly {
                before += red_team.iter().filter(is_there).count();
            }
        }
        Ok(before)
    }

    /// The journal of revised replies.
    fn revisions(&self) -> Result<Journal<Trace>, Error> {
        let path = self.folder.file(Stage::Evals, "revisions.journal")?;
        Ok(Journal::open(&path, &self.settings.seed, |trace: &Trace| trace.id.clone())?)
    }

    /// The journal of the replies of a policy.
    fn replies(&self, checkpoint: Checkpoint) -> Result<Journal<Answer>, Error> {
        let path = self.folder.file(Stage::Evals, &format!("{}.journal", checkpoint.name()))?;
        Ok(Journal::open(&path, &self.settings.seed, |answer: &Answer| answer.id.clone())?)
    }

    /// Draws every reply that the evaluations need, each once.
    fn answers(&self, meter: &Meter, progress: &mut StageProgress<'_>) -> Result<Answers, Error> {
        let (red_team, helpful) = (&self.prompts.held_out_red_team, &self.prompts.held_out_helpful);
        let helpful_only = self.revising(Stage::Evals, meter)?;
        let traces = self.revised(&helpful_only, red_team, progress)?;
        let first = |trace: &Trace| trace.prompt.clone().with_assistant(trace.reply.clone());
        let mut answers = Answers {
            red_team: HashMap::from([(
                Checkpoint::HelpfulOnly,
                traces.iter().map(first).collect(),
            )]),
            helpful: HashMap::new(),
            traces,
        };
        let replies = helpful_only
            .ask(|model| self.journalled(model, Checkpoint::HelpfulOnly, helpful, progress))?;
        helpful_only.forget()?;
        answers.helpful.insert(Checkpoint::HelpfulOnly, replies);
        for checkpoint in [Checkpoint::SlCai, Checkpoint::RlCai] {
            let policy = self.fixed(checkpoint)?;
            let policy = meter.watch(&policy);
            let replies = self.journalled(&policy, checkpoint, red_team, progress)?;
            answers.red_team.insert(checkpoint, replies);
            let replies = self.journalled(&policy, checkpoint, helpful, progress)?;
            answers.helpful.insert(checkpoint, replies);
        }
        Ok(answers)
    }

    /// Replies to held-out red-team prompts, revised as in training.
    fn revised(
        &self,
        model: &Lending<'_>,
        prompts: &[Dialogue],
        progress: &mut StageProgress<'_>,
    ) -> Result<Vec<Trace>, Error> {
        let mut journal = self.revisions()?;
        for chunk in prompts.chunks(CHUNK) {
            let todo: Vec<Dialogue> =
                chunk.iter().filter(|prompt| !journal.contains(&prompt.id())).cloned().collect();
            self.revise(model, &todo, &mut journal)?;
            progress.advance(chunk.len())?;
        }
        Ok(journal.finish(&ids(prompts))?)
    }

    /// Replies to held-out prompts through a journal.
    fn journalled(
        &self,
        model: &dyn Generate,
        checkpoint: Checkpoint,
        prompts: &[Dialogue],
        progress: &mut StageProgress<'_>,
    ) -> Result<Vec<Dialogue>, Error> {
        let mut journal = self.replies(checkpoint)?;
        for chunk in prompts.chunks(CHUNK) {
            let todo: Vec<Dialogue> =
                chunk.iter().filter(|prompt| !journal.contains(&prompt.id())).cloned().collect();
            let replies = self.answer(model, "evals", &todo)?;
            let text = |dialogue: &Dialogue| dialogue.last_reply().unwrap_or_default().to_owned();
            let answers = todo.iter().zip(&replies);
            let answers =
                answers.map(|(prompt, reply)| Answer { id: prompt.id(), text: text(reply) });
            journal.append(answers.collect())?;
            progress.advance(chunk.len())?;
        }
        let answers = journal.finish(&ids(prompts))?;
        let finished = prompts.iter().zip(answers);
        Ok(finished.map(|(prompt, answer)| prompt.clone().with_assistant(answer.text)).collect())
    }

    /// One reply to each prompt, as a finished dialogue.
    pub(super) fn answer(
        &self,
        model: &(impl Generate + ?Sized),
        purpose: &str,
        prompts: &[Dialogue],
    ) -> Result<Vec<Dialogue>, Error> {
        let asked: Vec<Prompt> = prompts
            .iter()
            .map(|prompt| Prompt {
                dialogue: prompt.clone(),
                seed: item_seed(self.settings.seed, &[purpose, &prompt.id()]),
            })
            .collect();
        let replies = model.generate(&asked, &self.settings.critique_revision.reply)?;
        let finished = prompts.iter().zip(replies);
        Ok(finished.map(|(prompt, reply)| prompt.clone().with_assistant(reply.text)).collect())
    }

    fn write_transcripts(&self, answers: &Answers) -> Result<(), Error> {
        let kinds = [
            (PromptKind::RedTeam, &self.prompts.held_out_red_team, &answers.red_team),
            (PromptKind::Benign, &self.prompts.held_out_helpful, &answers.helpful),
        ];
        let mut transcripts = Vec::new();
        for index in 0..SHOWN {
            for (kind, prompts, replies) in &kinds {
                let Some(prompt) = prompts.get(index) else { continue };
                let reply = |checkpoint: Checkpoint| {
                    let dialogue = replies.get(&checkpoint)?.get(index)?;
                    let verdict =
                        self.in_world().then(|| super::world::verdict(dialogue)).flatten();
                    let reply = Reply {
                        text: dialogue.last_reply()?.to_owned(),
                        verdict: verdict.map(|verdict| verdict.name().to_owned()),
                    };
                    Some((checkpoint.name().to_owned(), reply))
                };
                transcripts.push(Transcript {
                    prompt: prompt.clone(),
                    kind: *kind,
                    replies: Checkpoint::ALL.into_iter().filter_map(reply).collect(),
                });
            }
        }
        Ok(write_jsonl(self.folder.file(Stage::Evals, "transcripts.jsonl")?, transcripts)?)
    }
}
