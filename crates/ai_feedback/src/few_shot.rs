//! Worked examples in front of a question.

use crate::question::{concluding_question, question, reasoning_question};
use dialogue::{Comparison, Dialogue, Message};
use serde::{Deserialize, Serialize};

/// The letter of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The first reply.
    A,
    /// The second reply.
    B,
}

/// A pair with the answer that a good judge gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewShot {
    /// The pair.
    pub pair: Comparison,
    /// The better reply.
    pub answer: Answer,
    /// The reasoning that leads to the answer; shown only with a chain of thought, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
}

impl FewShot {
    /// The example as two finished turns, answered directly.
    pub fn answered(&self, principle: &str) -> Dialogue {
        self.close(question(&self.pair, principle))
    }

    /// The example as two finished turns, answered after its rationale.
    pub fn reasoned(&self, principle: &str) -> Dialogue {
        let rationale = self.rationale.as_deref().unwrap_or_default();
        self.close(concluding_question(&reasoning_question(&self.pair, principle), rationale))
    }

    /// Writes the letter behind the unfinished answer.
    fn close(&self, mut question: Dialogue) -> Dialogue {
        let letter = match self.answer {
            Answer::A => "A)",
            Answer::B => "B)",
        };
        if let Some(Message { content, .. }) = question.messages.last_mut() {
            content.push_str(letter);
        }
        question
    }
}
