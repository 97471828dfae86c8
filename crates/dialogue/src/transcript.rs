//! The paper's plain transcript: `\n\nHuman: … \n\nAssistant: …`.

use crate::{Dialogue, Role};

const HUMAN: &str = "\n\nHuman:";
const ASSISTANT: &str = "\n\nAssistant:";

/// Why a text is not a transcript.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// The text has no turn at all.
    #[error("the text holds no `\\n\\nHuman:` or `\\n\\nAssistant:` turn")]
    NoTurn,
    /// Something other than white space stands before the first turn.
    #[error("text before the first turn: {0:?}")]
    LeadingText(String),
}

impl Dialogue {
    /// Reads the transcript format of hh-rlhf and of the paper's prompts.
    ///
    /// White space around each turn is dropped. A transcript that ends in `Assistant:` ends in a user turn here,
    /// since the empty turn only asks for a reply.
    ///
    /// # Errors
    /// If there is no turn, or text stands before the first one.
    pub fn from_transcript(text: &str) -> Result<Self, TranscriptError> {
        // The first turn may stand at the very start, without its blank line.
        let text = format!("\n\n{}", text.trim_start());
        let mut starts: Vec<(usize, usize, Role)> = text
            .match_indices(HUMAN)
            .map(|(start, mark)| (start, start + mark.len(), Role::User))
            .chain(
                text.match_indices(ASSISTANT)
                    .map(|(start, mark)| (start, start + mark.len(), Role::Assistant)),
            )
            .collect();
        starts.sort_unstable_by_key(|&(start, ..)| start);
        let Some(&(first, ..)) = starts.first() else { return Err(TranscriptError::NoTurn) };
        if first > 0 {
            let leading = text[..first].trim().chars().take(40).collect();
            return Err(TranscriptError::LeadingText(leading));
        }
        let ends = starts.iter().skip(1).map(|&(start, ..)| start).chain([text.len()]);
        let mut dialogue = Self::default();
        for (&(_, content, role), end) in starts.iter().zip(ends) {
            dialogue = dialogue.with(role, text[content..end].trim());
        }
        if dialogue.last_reply() == Some("") {
            dialogue.messages.pop();
        }
        Ok(dialogue)
    }

    /// Writes the transcript format; a system message stands first, without a speaker.
    pub fn to_transcript(&self) -> String {
        self.messages
            .iter()
            .map(|message| match message.role {
                Role::System => message.content.clone(),
                Role::User => format!("{HUMAN} {}", message.content),
                Role::Assistant => format!("{ASSISTANT} {}", message.content),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_turns_and_drops_the_open_one() {
        let text = "\n\nHuman: one\n\nAssistant: two\n\nlines\n\nHuman: three\n\nAssistant:";
        let dialogue = Dialogue::from_transcript(text).unwrap();
        let expected = Dialogue::from_user("one").with_assistant("two\n\nlines").with_user("three");
        assert_eq!(dialogue, expected);
    }

    #[test]
    fn refuses_what_is_not_a_transcript() {
        assert_eq!(Dialogue::from_transcript("hello"), Err(TranscriptError::NoTurn));
        assert_eq!(
            Dialogue::from_transcript("so \n\nHuman: hi"),
            Err(TranscriptError::LeadingText("so".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn round_trips(turns in prop::collection::vec("[a-z][a-z ,.]{0,20}[a-z]", 1..6)) {
            let mut dialogue = Dialogue::default();
            for (index, turn) in turns.iter().enumerate() {
                let role = if index % 2 == 0 { Role::User } else { Role::Assistant };
                dialogue = dialogue.with(role, turn.clone());
            }
            prop_assert_eq!(Dialogue::from_transcript(&dialogue.to_transcript()), Ok(dialogue));
        }

        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = Dialogue::from_transcript(&text);
            let _ = Dialogue::from_transcript(&format!("\n\nHuman:{text}\n\nAssistant:{text}"));
        }
    }
}
