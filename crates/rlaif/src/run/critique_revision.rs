//! Critique and revision of the helpful-only model's replies (section 3.1), and its replies to helpful prompts.

use super::session::{CHUNK, ids};
use super::stage_progress::StageProgress;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::{Trace, critique_and_revise, summarise};
use dataset::{Journal, write_jsonl};
use dialogue::Dialogue;
use language_model::{Generate, Meter, Prompt, item_seed};
use serde::{Deserialize, Serialize};
use training::Observe;

/// Replies that are drawn to each helpful prompt, as in the paper.
const HELPFUL_SAMPLES: usize = 2;

/// Replies to a helpful prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Helpful {
    id: String,
    prompt: Dialogue,
    replies: Vec<String>,
}

impl Helpful {
    /// The prompt with each of its replies.
    pub(super) fn dialogues(&self) -> impl Iterator<Item = Dialogue> {
        self.replies.iter().map(|reply| self.prompt.clone().with_assistant(reply))
    }
}

impl<B: AutodiffBackend> Session<B> {
    /// Writes `revisions.jsonl`, `summary.json` with what is wrong with them, and `helpful.jsonl`.
    pub(super) fn critique_revision(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let stage = Stage::CritiqueRevision;
        let model = self.fixed(Checkpoint::HelpfulOnly)?;
        let meter = Meter::default();
        let model = meter.watch(&model);
        let (red_team, helpful) = (&self.prompts.red_team, &self.prompts.helpful);
        let journal = self.folder.file(stage, "revisions.journal")?;
        let mut traces: Journal<Trace> =
            Journal::open(&journal, &self.settings.seed, |trace: &Trace| trace.id.clone())?;
        let journal = self.folder.file(stage, "helpful.journal")?;
        let mut replies: Journal<Helpful> =
            Journal::open(&journal, &self.settings.seed, |helpful: &Helpful| helpful.id.clone())?;
        let [revised_before, replied_before] = [traces.done().len(), replies.done().len()];
        let (items, before) = (red_team.len() + helpful.len(), revised_before + replied_before);
        let mut progress = StageProgress::start(stage, items, before, &meter, observe)?;
        progress.advance(revised_before)?;
        let revised = |prompts: &[Dialogue]| {
            let config = &self.settings.critique_revision;
            critique_and_revise(&model, &self.constitution, prompts, config, self.settings.seed)
        };
        let todo: Vec<Dialogue> =
            red_team.iter().filter(|prompt| !traces.contains(&prompt.id())).cloned().collect();
        for prompts in todo.chunks(CHUNK) {
            traces.append(revised(prompts)?)?;
            progress.advance(prompts.len())?;
        }
        let traces = traces.finish(&ids(red_team))?;
        let summary = summarise(&traces);
        write_jsonl(self.folder.file(stage, "revisions.jsonl")?, traces)?;
        self.write_json(stage, "summary.json", &summary)?;
        let found = [
            ("critique_is_revision", summary.found.critique_is_revision as f64),
            ("revision_is_critique", summary.found.revision_is_critique as f64),
            ("empty", summary.found.empty as f64),
            ("truncated", summary.found.truncated as f64),
            ("unchanged", summary.found.unchanged as f64),
        ];
        progress.tell(&found)?;

        progress.advance(replied_before)?;
        let todo: Vec<Dialogue> =
            helpful.iter().filter(|prompt| !replies.contains(&prompt.id())).cloned().collect();
        for prompts in todo.chunks(CHUNK) {
            replies.append(self.reply_to_helpful(&model, prompts)?)?;
            progress.advance(prompts.len())?;
        }
        write_jsonl(self.folder.file(stage, "helpful.jsonl")?, replies.finish(&ids(helpful))?)?;
        progress.finish()
    }

    fn reply_to_helpful(
        &self,
        model: &impl Generate,
        prompts: &[Dialogue],
    ) -> Result<Vec<Helpful>, Error> {
        let asked: Vec<Prompt> = prompts
            .iter()
            .flat_map(|prompt| {
                (0..HELPFUL_SAMPLES).map(|sample| Prompt {
                    dialogue: prompt.clone(),
                    seed: item_seed(
                        self.settings.seed,
                        &["helpful", &prompt.id(), &sample.to_string()],
                    ),
                })
            })
            .collect();
        let replies = model.generate(&asked, &self.settings.critique_revision.reply)?;
        Ok(prompts
            .iter()
            .zip(replies.chunks(HELPFUL_SAMPLES))
            .map(|(prompt, replies)| Helpful {
                id: prompt.id(),
                prompt: prompt.clone(),
                replies: replies.iter().map(|reply| reply.text.clone()).collect(),
            })
            .collect())
    }
}
