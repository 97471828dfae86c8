//! What was said, and by which principle.

use dialogue::Dialogue;
use language_model::StopReason;
use serde::{Deserialize, Serialize};

/// A prompt, the first reply to it and every step that changed the reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// [`Dialogue::id`] of the prompt.
    pub id: String,
    /// What is answered.
    pub prompt: Dialogue,
    /// The first reply.
    pub reply: String,
    /// Tokens drawn for the first reply.
    pub reply_tokens: usize,
    /// Why the first reply ended.
    pub reply_stopped: StopReason,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One critique and the revision that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The id of the principle.
    pub principle: String,
    /// The request for the critique.
    pub critique_request: String,
    /// The critique.
    pub critique: String,
    /// Tokens drawn for the critique.
    pub critique_tokens: usize,
    /// Why the critique ended.
    pub critique_stopped: StopReason,
    /// The request for the revision.
    pub revision_request: String,
    /// The reply after this step.
    pub revision: String,
    /// Tokens drawn for the revision.
    pub revision_tokens: usize,
    /// Why the revision ended.
    pub revision_stopped: StopReason,
    /// True if the model gave an empty revision, so that `revision` is the reply before this step.
    pub kept: bool,
}

impl Trace {
    /// The first reply, then the reply after every step; one more than there are steps.
    pub fn versions(&self) -> Vec<&str> {
        let revisions = self.steps.iter().map(|step| step.revision.as_str());
        std::iter::once(self.reply.as_str()).chain(revisions).collect()
    }

    /// The reply as it stands after the last step.
    pub fn current(&self) -> &str {
        self.steps.last().map_or(&self.reply, |step| &step.revision)
    }

    /// The dialogues to fine-tune on: the prompt with the revision of every step, not with the first reply.
    ///
    /// The paper trains on the revisions of all steps (section 3.2). A step that kept the reply adds none, since it
    /// could bring back the first reply.
    pub fn revised_dialogues(&self) -> Vec<Dialogue> {
        let revised = self.steps.iter().filter(|step| !step.kept);
        revised.map(|step| self.prompt.clone().with_assistant(step.revision.clone())).collect()
    }
}
