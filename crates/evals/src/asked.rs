//! What was asked, as files hold it.

use dialogue::Dialogue;
use serde::Deserialize;

/// A prompt as a text or as messages.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`prompt` must be a text or a list of messages with `role` and `content`"
)]
pub(crate) enum Asked {
    /// What the user says.
    Text(String),
    /// All turns.
    Messages(Dialogue),
}

impl Asked {
    /// The prompt, without a closing reply.
    pub(crate) fn prompt(self) -> Dialogue {
        match self {
            Self::Text(text) => Dialogue::from_user(text.trim()),
            Self::Messages(dialogue) => dialogue.prompt(),
        }
    }
}
