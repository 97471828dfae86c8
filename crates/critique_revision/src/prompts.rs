//! The dialogues in which a model criticises and mends its own reply.

use crate::{Form, Sought};
use dialogue::Dialogue;

/// Asks for a critique of `reply`: the conversation, the reply, then the request as a user turn.
///
/// `few_shots` are worked examples in the same form; they stand in front, so that the model does not confuse whose
/// turn it is (section 3.1 of arXiv 2212.08073). A system message of the conversation stays first. [`Form::ask`] asks in
/// other forms.
pub fn critique_prompt(
    few_shots: &[Dialogue],
    prompt: &Dialogue,
    reply: &str,
    critique_request: &str,
) -> Dialogue {
    Form::Chat.ask(few_shots, prompt, reply, Sought::Critique { request: critique_request })
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
    let critique = Some([critique_request, critique]);
    let sought = Sought::Revision { critique, request: revision_request };
    Form::Chat.ask(few_shots, prompt, reply, sought)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Role;

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
