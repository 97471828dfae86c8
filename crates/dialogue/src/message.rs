//! Who said what.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The speaker of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand before the conversation.
    System,
    /// The human side.
    User,
    /// The model's side.
    Assistant,
}

impl Role {
    /// The name that chat templates and chat APIs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a dialogue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The speaker.
    pub role: Role,
    /// What was said, without any template around it.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A conversation, in the order in which it was held; on disk a plain list of messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dialogue {
    /// The turns.
    pub messages: Vec<Message>,
}

impl Dialogue {
    /// A dialogue of the given turns.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages }
    }

    /// A dialogue that holds one user turn.
    pub fn from_user(content: impl Into<String>) -> Self {
        Self::default().with_user(content)
    }

    /// Appends a turn.
    #[must_use]
    pub fn with(mut self, role: Role, content: impl Into<String>) -> Self {
        self.messages.push(Message::new(role, content));
        self
    }

    /// Appends a user turn.
    #[must_use]
    pub fn with_user(self, content: impl Into<String>) -> Self {
        self.with(Role::User, content)
    }

    /// Appends an assistant turn.
    #[must_use]
    pub fn with_assistant(self, content: impl Into<String>) -> Self {
        self.with(Role::Assistant, content)
    }

    /// True if the last turn is the assistant's.
    pub fn ends_with_assistant(&self) -> bool {
        self.messages.last().is_some_and(|message| message.role == Role::Assistant)
    }

    /// The last turn, if it is the assistant's.
    pub fn last_reply(&self) -> Option<&str> {
        self.messages
            .last()
            .filter(|message| message.role == Role::Assistant)
            .map(|message| message.content.as_str())
    }

    /// The last turn of the user.
    pub fn last_request(&self) -> Option<&str> {
        self.messages
            .iter()
            .rev()
            .find(|message| message.role == Role::User)
            .map(|message| message.content.as_str())
    }

    /// The dialogue without a closing assistant turn: what a reply answers.
    #[must_use]
    pub fn prompt(&self) -> Self {
        let mut messages = self.messages.clone();
        if self.ends_with_assistant() {
            messages.pop();
        }
        Self { messages }
    }

    /// A name made of the content: the first 16 hexadecimal digits of a SHA-256 over roles and texts.
    ///
    /// Equal dialogues have equal names on every machine, so that an item's random stream and its place in a
    /// journal do not depend on its position in a file.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for message in &self.messages {
            hash.update(message.role.name());
            hash.update((message.content.len() as u64).to_le_bytes());
            hash.update(&message.content);
        }
        format!("{:.16x}", hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_depends_on_content_and_role_only() {
        let asked = Dialogue::from_user("a");
        assert_eq!(asked.id(), Dialogue::from_user("a").id());
        assert_ne!(asked.id(), Dialogue::default().with_assistant("a").id());
        assert_ne!(
            Dialogue::from_user("ab").with_user("c").id(),
            Dialogue::from_user("a").with_user("bc").id()
        );
        assert_eq!(asked.id().len(), 16);
    }

    #[test]
    fn prompt_drops_only_a_closing_reply() {
        let asked = Dialogue::from_user("a").with_assistant("b").with_user("c");
        assert_eq!(asked.prompt(), asked);
        assert_eq!(asked.clone().with_assistant("d").prompt(), asked);
        assert_eq!(asked.last_request(), Some("c"));
        assert_eq!(asked.last_reply(), None);
    }

    #[test]
    fn serialises_as_a_list_of_messages() {
        let json = serde_json::to_string(&Dialogue::from_user("hi")).unwrap();
        assert_eq!(json, r#"[{"role":"user","content":"hi"}]"#);
    }
}
