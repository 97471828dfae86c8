//! What a conversation was at each turn of its user.

use dialogue::{Dialogue, Message, Role};

/// The partial conversations that end on a turn of the user, the shortest first: one prompt for every turn in which the user says
/// something, as the paper takes its red-team prompts (arXiv 2212.08073, section 3.2).
///
/// Each is another dialogue, so that each has a [`Dialogue::id`] of its own. The last of a prompt is the prompt itself.
///
/// ```
/// use dataset::partial_conversations;
/// use dialogue::Dialogue;
///
/// let first = Dialogue::from_user("Who are you?");
/// let second = first.clone().with_assistant("An assistant.").with_user("Whose?");
/// let attempt = second.clone().with_assistant("Nobody's.");
/// assert_eq!(partial_conversations(attempt).collect::<Vec<_>>(), [first, second]);
/// ```
pub fn partial_conversations(dialogue: Dialogue) -> impl Iterator<Item = Dialogue> {
    let Dialogue { messages } = dialogue;
    (0..messages.len()).filter_map(move |last| {
        let Message { role, content } = &messages[last];
        let asks = *role == Role::User && !content.trim().is_empty();
        asks.then(|| Dialogue::new(messages[..=last].to_vec()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_is_one_for_every_turn_in_which_the_user_says_something() {
        let dialogue = Dialogue::default()
            .with(Role::System, "Be brief.")
            .with_user("a")
            .with_assistant("b")
            .with_user(" ")
            .with_user("c")
            .with_assistant("d")
            .with_assistant("e");
        let found: Vec<Dialogue> = partial_conversations(dialogue.clone()).collect();
        let lengths: Vec<usize> = found.iter().map(|prompt| prompt.messages.len()).collect();
        assert_eq!(lengths, [2, 5]);
        for prompt in &found {
            assert_eq!(prompt.messages, dialogue.messages[..prompt.messages.len()]);
        }
        let ids: HashSet<String> = found.iter().map(Dialogue::id).collect();
        assert_eq!(ids.len(), found.len());
        assert_eq!(partial_conversations(Dialogue::default().with_assistant("a")).count(), 0);
    }
}
