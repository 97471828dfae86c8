//! The worked examples of the paper's own repository.
//!
//! `CritiqueRevisionFewShotPrompts.json` is a list of texts: a transcript, a critique and a revision under their headings, and mostly
//! the `Human:` of what follows. Headings and that end belong to the prompt and not to the example, so they are taken off.

use crate::Error;
use crate::few_shots::parts;
use dialogue::{Dialogue, Role};
use std::path::Path;

/// What stands over a critique request, the critique, a revision request and the revision, in this order.
const HEADINGS: [&str; 4] =
    ["\n\nCritiqueRequest:", "\n\nCritique:", "\n\nRevisionRequest:", "\n\nRevision:"];

/// Opens whatever follows an example.
const NEXT: &str = "\n\nHuman:";

/// Reads worked examples of the paper's form, as [`CritiqueRevisionConfig::few_shots`](crate::CritiqueRevisionConfig::few_shots) takes
/// them: their requests become turns of the user. Space around texts is dropped.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read, [`Error::Paper`] if it has another form, naming the entry.
pub fn few_shots_from_paper(file: &Path) -> Result<Vec<Dialogue>, Error> {
    let fail = |fault: String| Error::Paper { file: file.to_owned(), fault };
    let text = std::fs::read_to_string(file)
        .map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let entries: Vec<String> = serde_json::from_str(&text)
        .map_err(|error| fail(format!("not a list of texts: {error}")))?;
    let example = |(entry, number): (&String, usize)| {
        worked_example(entry).map_err(|fault| fail(format!("entry {number} {fault}")))
    };
    entries.iter().zip(1..).map(example).collect()
}

fn worked_example(text: &str) -> Result<Dialogue, String> {
    let text = text.trim_end();
    let mut rest = text.strip_suffix(NEXT).unwrap_or(text);
    let mut texts = Vec::with_capacity(HEADINGS.len());
    for heading in HEADINGS {
        let (before, behind) =
            rest.split_once(heading).ok_or_else(|| format!("has no {heading:?}"))?;
        texts.push(before.trim());
        rest = behind;
    }
    texts.push(rest.trim());
    let roles = [Role::User, Role::Assistant, Role::User, Role::Assistant];
    let mut example = Dialogue::from_transcript(texts[0])
        .map_err(|error| format!("is no transcript: {error}"))?;
    for ((text, role), heading) in texts[1..].iter().zip(roles).zip(HEADINGS) {
        if text.is_empty() {
            return Err(format!("has nothing behind {heading:?}"));
        }
        example = example.with(role, *text);
    }
    let begins = example.messages.first().is_some_and(|message| message.role == Role::User);
    if !begins || parts(&example).is_none() {
        let before = HEADINGS[0];
        return Err(format!(
            "has no conversation before {before:?} that begins with a human turn and ends in a human turn and a reply"
        ));
    }
    Ok(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "\n\nHuman: Hello\n\nAssistant: Go away.\n\nCritiqueRequest: Is it rude?\n\nCritique: The reply is.\n\n\
                           RevisionRequest: Mend it.\n\nRevision: Hello to you.\n\nAnd welcome.\n\nHuman:";

    #[test]
    fn headings_become_turns() {
        let expected = Dialogue::from_user("Hello")
            .with_assistant("Go away.")
            .with_user("Is it rude?")
            .with_assistant("The reply is.")
            .with_user("Mend it.")
            .with_assistant("Hello to you.\n\nAnd welcome.");
        assert_eq!(worked_example(EXAMPLE), Ok(expected.clone()));
        let without_the_next = EXAMPLE.strip_suffix("\n\nHuman:").unwrap();
        assert_eq!(worked_example(without_the_next), Ok(expected));
    }

    #[test]
    fn another_form_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shots.json");
        let without = |part: &str| EXAMPLE.replacen(part, "", 1);
        let entry = |text: String| serde_json::json!([EXAMPLE, text]).to_string();
        for (text, expected) in [
            ("{}".to_owned(), "not a list of texts"),
            (entry(without("\n\nCritique:")), "entry 2 has no \"\\n\\nCritique:\""),
            (entry(without(" Mend it.")), "entry 2 has nothing behind \"\\n\\nRevisionRequest:\""),
            (entry(without("\n\nHuman: Hello")), "entry 2 has no conversation"),
            (entry(without("\n\nAssistant: Go away.")), "entry 2 has no conversation"),
            (
                entry(format!("So: {EXAMPLE}")),
                "entry 2 is no transcript: text before the first turn",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let message = few_shots_from_paper(&file).unwrap_err().to_string();
            assert!(message.contains("shots.json: ") && message.contains(expected), "{message}");
        }
        let missing = few_shots_from_paper(&folder.path().join("none.json")).unwrap_err();
        assert!(missing.to_string().contains("none.json"), "{missing}");
    }
}
