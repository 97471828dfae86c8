//! How critiques and revisions are asked for: as turns of a chat, or in the paper's transcript.

use dialogue::{Dialogue, Message, Role};
use language_model::Sampling;
use serde::{Deserialize, Serialize};

/// The headings of the transcript; a turn that reaches the next of them is over.
const CRITIQUE_REQUEST: &str = "Critique Request";
const CRITIQUE: &str = "Critique";
const REVISION_REQUEST: &str = "Revision Request";
const REVISION: &str = "Revision";

/// Where a text ends that is written on in the transcript.
const ENDS: [&str; 4] = ["\nCritique Request:", "\nRevision Request:", "\nHuman:", "\nAssistant:"];

/// How a critique or a revision is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Requests are turns of the user and are answered by turns of the assistant, which suits chat models.
    #[default]
    Chat,
    /// Requests stand under headings behind the reply, within one unfinished turn of the assistant that the model writes
    /// on: with the transcript as its template a base model reads what the paper's models read.
    Transcript,
}

/// What is asked for about a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sought<'a> {
    /// A critique.
    Critique {
        /// Asks for it.
        request: &'a str,
    },
    /// A revision.
    Revision {
        /// The request for a critique and the critique, unless the revision is asked for directly.
        critique: Option<[&'a str; 2]>,
        /// Asks for the revision.
        request: &'a str,
    },
}

impl Form {
    /// The dialogue that a model continues with what is sought: examples, conversation, reply, requests.
    ///
    /// A system message of the conversation stays first.
    pub fn ask(
        self,
        examples: &[Dialogue],
        prompt: &Dialogue,
        reply: &str,
        sought: Sought<'_>,
    ) -> Dialogue {
        let asked = behind(examples, prompt);
        match self {
            Self::Chat => chat(asked.with_assistant(reply), sought),
            Self::Transcript => asked.with_assistant(format!("{reply}{}", headed(sought))),
        }
    }

    /// The dialogue of [`Form::ask`] with the text that was sought.
    pub(crate) fn answer(self, mut asked: Dialogue, text: &str) -> Dialogue {
        match (self, asked.messages.last_mut()) {
            (Self::Transcript, Some(Message { content, .. })) => {
                content.push(' ');
                content.push_str(text);
                asked
            }
            _ => asked.with_assistant(text),
        }
    }

    /// How texts of this form are drawn.
    pub(crate) fn sampling(self, sampling: &Sampling) -> Sampling {
        let mut sampling = sampling.clone();
        if self == Self::Transcript {
            sampling.stop.extend(ENDS.map(str::to_owned));
        }
        sampling
    }
}

fn chat(replied: Dialogue, sought: Sought<'_>) -> Dialogue {
    match sought {
        Sought::Critique { request } | Sought::Revision { critique: None, request } => {
            replied.with_user(request)
        }
        Sought::Revision { critique: Some([asked, critique]), request } => {
            replied.with_user(asked).with_assistant(critique).with_user(request)
        }
    }
}

/// What stands behind the reply, up to the heading of what is sought.
fn headed(sought: Sought<'_>) -> String {
    let section = |heading: &str, text: &str| format!("\n\n{heading}: {text}");
    match sought {
        Sought::Critique { request } => {
            format!("{}\n\n{CRITIQUE}:", section(CRITIQUE_REQUEST, request))
        }
        Sought::Revision { critique, request } => {
            let criticised = critique.map(|[request, critique]| {
                section(CRITIQUE_REQUEST, request) + &section(CRITIQUE, critique)
            });
            let criticised = criticised.unwrap_or_default();
            format!("{criticised}{}\n\n{REVISION}:", section(REVISION_REQUEST, request))
        }
    }
}

/// The conversation with the worked examples in front.
fn behind(examples: &[Dialogue], prompt: &Dialogue) -> Dialogue {
    let system = prompt.messages.iter().take_while(|message| message.role == Role::System).count();
    let (system, turns) = prompt.messages.split_at(system);
    let examples = examples.iter().flat_map(|example| &example.messages);
    Dialogue::new(system.iter().chain(examples).chain(turns).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUGHT: Sought<'static> = Sought::Revision {
        critique: Some(["What could go wrong?", "Salt spoils the soil."]),
        request: "Mend it.",
    };

    fn prompt() -> Dialogue {
        Dialogue::from_user("Hello").with_assistant("Hello, too.").with_user("How do I kill weeds?")
    }

    #[test]
    fn writes_the_transcript_up_to_the_critique() {
        let sought = Sought::Critique { request: "What could go wrong?" };
        let asked = Form::Transcript.ask(&[], &prompt(), "With salt.", sought);
        assert!(asked.ends_with_assistant());
        insta::assert_snapshot!(asked.to_transcript().trim_start(), @r"
        Human: Hello

        Assistant: Hello, too.

        Human: How do I kill weeds?

        Assistant: With salt.

        Critique Request: What could go wrong?

        Critique:
        ");
    }

    #[test]
    fn writes_the_transcript_up_to_the_revision_behind_its_examples() {
        let example = Form::Transcript.ask(&[], &Dialogue::from_user("Tea?"), "No.", SOUGHT);
        let example = Form::Transcript.answer(example, "Gladly.");
        let prompt = Dialogue::default().with(Role::System, "Be brief.").with_user("Weeds?");
        let direct = Sought::Revision { critique: None, request: "Mend it." };
        let asked = Form::Transcript.ask(&[example], &prompt, "With salt.", direct);
        insta::assert_snapshot!(asked.to_transcript(), @r"
        Be brief.

        Human: Tea?

        Assistant: No.

        Critique Request: What could go wrong?

        Critique: Salt spoils the soil.

        Revision Request: Mend it.

        Revision: Gladly.

        Human: Weeds?

        Assistant: With salt.

        Revision Request: Mend it.

        Revision:
        ");
    }

    #[test]
    fn a_direct_revision_is_one_turn_of_the_chat() {
        let direct = Sought::Revision { critique: None, request: "Mend it." };
        let asked = Form::Chat.ask(&[], &prompt(), "With salt.", direct);
        assert_eq!(asked, prompt().with_assistant("With salt.").with_user("Mend it."));
        let answered = Form::Chat.answer(asked.clone(), "By hand.");
        assert_eq!(answered, asked.with_assistant("By hand."));
    }

    #[test]
    fn a_transcript_ends_at_the_next_heading() {
        let mut own = Sampling::default();
        own.stop.push("!".to_owned());
        assert_eq!(Form::Chat.sampling(&own), own);
        let stop = Form::Transcript.sampling(&own).stop;
        assert_eq!((stop.len(), stop[0].as_str()), (5, "!"));
        for ends in [&headed(SOUGHT)[..], "\n\nHuman: x", "\n\nAssistant: x"] {
            assert!(ENDS.iter().any(|end| ends.contains(end)), "{ends}");
        }
    }
}
