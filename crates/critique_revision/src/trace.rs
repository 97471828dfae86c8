//! What was said, and by which principle.

use crate::Failure;
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
    /// The places, in the settings, of the worked examples that stood in front, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub few_shots: Vec<usize>,
    /// The request for the critique; empty, as is the critique, if the revision was asked for directly.
    pub critique_request: String,
    /// What the model read before the critique, unless prompts are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critique_prompt: Option<Dialogue>,
    /// The critique.
    pub critique: String,
    /// Tokens drawn for the critique.
    pub critique_tokens: usize,
    /// Why the critique ended.
    pub critique_stopped: StopReason,
    /// The request for the revision.
    pub revision_request: String,
    /// What the model read before the revision, unless prompts are not kept or the critique was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision_prompt: Option<Dialogue>,
    /// The reply after this step.
    pub revision: String,
    /// Tokens drawn for the revision; 0 if the critique was dropped.
    pub revision_tokens: usize,
    /// Why the revision ended.
    pub revision_stopped: StopReason,
    /// What is wrong with the critique and the revision, of each the last that was drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// True if the critique or the revision was dropped, so that `revision` is the reply before this step.
    pub kept: bool,
    /// The revision that was dropped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dropped: String,
    /// What was drawn again, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redrawn: Vec<Draft>,
}

/// A critique or a revision that was drawn again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// What it was to be.
    pub part: Part,
    /// Why it was drawn again.
    pub failures: Vec<Failure>,
    /// What the model said.
    pub text: String,
    /// Tokens drawn.
    pub tokens: usize,
    /// Why it ended.
    pub stopped: StopReason,
}

/// The two texts of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What is wrong with the reply.
    Critique,
    /// The better reply.
    Revision,
}

impl Part {
    /// Its name in records and random streams.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Critique => "critique",
            Self::Revision => "revision",
        }
    }
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
    /// could bring back the first reply; nor does one whose revision is empty.
    pub fn revised_dialogues(&self) -> Vec<Dialogue> {
        let revised = self.steps.iter().filter(|step| !step.kept && !step.revision.is_empty());
        revised.map(|step| self.prompt.clone().with_assistant(step.revision.clone())).collect()
    }
}
