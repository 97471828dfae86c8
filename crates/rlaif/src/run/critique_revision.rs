//! Critique and revision of the helpful-only model's replies (section 3.1), and its replies to helpful prompts.

use super::session::{CHUNK, ids};
use super::stage_progress::StageProgress;
use super::{Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::{FailureCounts, Trace, summarise};
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
        let meter = Meter::default();
        let model = self.revising(stage, &meter)?;
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
        let todo: Vec<Dialogue> =
            red_team.iter().filter(|prompt| !traces.contains(&prompt.id())).cloned().collect();
        for prompts in todo.chunks(CHUNK) {
            self.revise(&model, prompts, &mut traces)?;
            progress.advance(prompts.len())?;
        }
        let traces = traces.finish(&ids(red_team))?;
        let summary = summarise(&traces);
        write_jsonl(self.folder.file(stage, "revisions.jsonl")?, traces)?;
        self.write_json(stage, "summary.json", &summary)?;
        progress.note(&format!("{stage}: {}", told(&summary.found)));

        progress.advance(replied_before)?;
        let todo: Vec<Dialogue> =
            helpful.iter().filter(|prompt| !replies.contains(&prompt.id())).cloned().collect();
        for prompts in todo.chunks(CHUNK) {
            model.ask(|model| Ok(replies.append(self.reply_to_helpful(model, prompts)?)?))?;
            progress.advance(prompts.len())?;
        }
        write_jsonl(self.folder.file(stage, "helpful.jsonl")?, replies.finish(&ids(helpful))?)?;
        model.forget()?;
        progress.finish()
    }

    fn reply_to_helpful(
        &self,
        model: &dyn Generate,
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

/// What is wrong with critiques and revisions, in a line.
fn told(found: &FailureCounts) -> String {
    let FailureCounts { critique_is_revision, revision_is_critique, empty, truncated, unchanged } =
        found;
    format!(
        "of all that was drawn {critique_is_revision} critiques are revisions and {revision_is_critique} revisions critiques; \
         {empty} revisions are empty, {truncated} cut off, {unchanged} the reply that they should revise"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_is_told() {
        let found = FailureCounts {
            critique_is_revision: 1,
            revision_is_critique: 2,
            empty: 3,
            truncated: 4,
            unchanged: 5,
        };
        let expected = "of all that was drawn 1 critiques are revisions and 2 revisions critiques; 3 revisions are empty, \
                        4 cut off, 5 the reply that they should revise";
        assert_eq!(told(&found), expected);
    }
}
