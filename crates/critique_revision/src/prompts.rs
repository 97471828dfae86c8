//! The dialogues in which a model criticises and mends its own reply.

use dialogue::{Dialogue, Message, Role};

/// Asks for a critique of `reply`: the conversation, the reply, then the request as a user turn.
///
/// `few_shots` are worked examples in the same form; they stand in front, so that the model does not confuse whose
/// turn it is (section 3.1 of arXiv 2212.08073). A system message of the conversation stays first.
pub fn critique_prompt(
    few_shots: &[Dialogue],
    prompt: &Dialogue,
    reply: &str,
    critique_request: &str,
) -> Dialogue {
    behind(few_shots, prompt).with_assistant(reply).with_user(critique_request)
}

/// Asks for a revision of `reply`: all of [`critique_prompt`], the critique, then the request as a user turn.
pub fn revision_prompt(
    few_shots: &[Dialogue],
    prompt: &Dialogue,
    reply: &str,
    critique_request: &str,
    critique: &str,
    revision_request: &str,
) -> Dialogue {
    critique_prompt(few_shots, prompt, reply, critique_request)
        .with_assistant(critique)
        .with_user(revision_request)
}

/// The conversation with the worked examples in front.
fn behind(few_shots: &[Dialogue], prompt: &Dialogue) -> Dialogue {
    let system = prompt.messages.iter().take_while(|message| message.role == Role::System).count();
    let (system, turns) = prompt.messages.split_at(system);
    let examples = few_shots.iter().flat_map(|shot| &shot.messages);
    let messages: Vec<Message> = system.iter().chain(examples).chain(turns).cloned().collect();
    Dialogue::new(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt() -> Dialogue {
        Dialogue::from_user("Hello").with_assistant("Hello, too.").with_user("How do I kill weeds?")
    }

    #[test]
    fn renders_a_critique_prompt() {
        let rendered = critique_prompt(&[], &prompt(), "With salt.", "What could go wrong?");
        insta::assert_snapshot!(rendered.to_transcript().trim_start(), @r"
        Human: Hello

        Assistant: Hello, too.

        Human: How do I kill weeds?

        Assistant: With salt.

        Human: What could go wrong?
        ");
    }

    #[test]
    fn renders_a_revision_prompt_behind_its_examples() {
        let few_shots = [critique_prompt(&[], &Dialogue::from_user("Tea?"), "No.", "Rude?")
            .with_assistant("Yes.")];
        let prompt = Dialogue::default().with(Role::System, "Be brief.");
        let prompt = prompt.with_user("How do I kill weeds?");
        let rendered = revision_prompt(
            &few_shots,
            &prompt,
            "With salt.",
            "What could go wrong?",
            "Salt spoils the soil.",
            "Mend it.",
        );
        insta::assert_snapshot!(rendered.to_transcript(), @r"
        Be brief.

        Human: Tea?

        Assistant: No.

        Human: Rude?

        Assistant: Yes.

        Human: How do I kill weeds?

        Assistant: With salt.

        Human: What could go wrong?

        Assistant: Salt spoils the soil.

        Human: Mend it.
        ");
    }
}
