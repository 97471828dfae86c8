//! Fine-tuning on the revisions of all steps and on helpful replies: SL-CAI (section 3.1).

use super::critique_revision::Helpful;
use super::models::model_folder;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::Trace;
use dataset::read_jsonl;
use dialogue::Dialogue;
use sft::Source;
use training::Observe;

/// What fine-tuning learns from; `weights` in its settings may name them.
pub(super) const SOURCES: [&str; 2] = ["revisions", "helpful"];

impl<B: AutodiffBackend> Session<B> {
    /// Writes the model SL-CAI.
    pub(super) fn sft(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let [revisions, helpful] = self.lessons()?;
        let [revised, kept_helpful] = SOURCES;
        let sources = [
            Source { name: revised, items: &revisions },
            Source { name: kept_helpful, items: &helpful },
        ];
        let base = self.policy::<B>(Checkpoint::HelpfulOnly, &self.device)?;
        let mut watched = self.watched(Stage::Sft, observe)?;
        let mut states = self.checkpoints(Stage::Sft)?;
        let (config, seed) = (&self.settings.sft, self.settings.seed);
        let model = config.fit_mixture(base, &sources, seed, &mut watched, &mut states)?;
        Ok(model.save(model_folder(self.folder.path(), Stage::Sft))?)
    }

    /// Revised dialogues of all steps, and dialogues with helpful replies.
    pub(super) fn lessons(&self) -> Result<[Vec<Dialogue>; 2], Error> {
        let source = Stage::CritiqueRevision;
        let traces: Vec<Trace> = read_jsonl(self.folder.file(source, "revisions.jsonl")?)?;
        let helpful: Vec<Helpful> = read_jsonl(self.folder.file(source, "helpful.jsonl")?)?;
        let revised = traces.iter().flat_map(Trace::revised_dialogues).collect();
        Ok([revised, helpful.iter().flat_map(Helpful::dialogues).collect()])
    }
}
