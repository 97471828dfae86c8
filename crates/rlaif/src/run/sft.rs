//! Fine-tuning on the revisions of all steps and on helpful replies: SL-CAI (section 3.1).

use super::critique_revision::Helpful;
use super::models::model_folder;
use super::{Checkpoint, Error, Session, Stage};
use burn::tensor::backend::AutodiffBackend;
use critique_revision::Trace;
use dataset::read_jsonl;
use dialogue::Dialogue;
use training::Observe;

impl<B: AutodiffBackend> Session<B> {
    /// Writes the model SL-CAI.
    pub(super) fn sft(&self, observe: &mut dyn Observe) -> Result<(), Error> {
        let source = Stage::CritiqueRevision;
        let traces: Vec<Trace> = read_jsonl(self.folder.file(source, "revisions.jsonl")?)?;
        let helpful: Vec<Helpful> = read_jsonl(self.folder.file(source, "helpful.jsonl")?)?;
        let dialogues: Vec<Dialogue> = traces
            .iter()
            .flat_map(Trace::revised_dialogues)
            .chain(helpful.iter().flat_map(Helpful::dialogues))
            .collect();
        let base = self.policy::<B>(Checkpoint::HelpfulOnly, &self.device)?;
        let mut watched = self.watched(Stage::Sft, observe)?;
        let model = self.settings.sft.fit(base, &dialogues, self.settings.seed, &mut watched)?;
        Ok(model.save(model_folder(self.folder.path(), Stage::Sft))?)
    }
}
