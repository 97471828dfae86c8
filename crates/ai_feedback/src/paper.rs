//! The worked examples of the paper's own repository.
//!
//! `RLMadisonFewShotPrompts.json` is a list of `{prompt, corrects: [text], incorrects: [text]}`: a transcript, the better reply and the
//! worse one. `RLMadisonPrecogFewShotPrompts.json` is a list of `{prompt}`, whose text is a whole question with the reasoning and the
//! answer behind it, and `{}` in the place of the principle.

use crate::{Answer, Error, FewShot};
use dialogue::{Comparison, Dialogue, Role};
use serde::Deserialize;
use std::path::Path;

/// Opens a question that is answered after reasoning.
const OPENING: &str = "Human: Consider the following conversation";

/// Stands before the first reply, between both, and behind the second.
const REPLIES: [&str; 3] = [" (A) [[[", "]]]\n (B) [[[", "]]]"];

/// Where the principle would stand.
const PRINCIPLE: &str = "\n\n{}\n";

/// Opens the reasoning.
const REASONING: &str = "\n\nAssistant: Let's think step by step:";

/// Opens the answer behind it.
const CONCLUSION: &str = "\n\nHuman:\nSo the answer is:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    prompt: String,
    #[serde(default)]
    corrects: Vec<String>,
    #[serde(default)]
    incorrects: Vec<String>,
}

/// Reads worked examples of the paper's form, as [`FeedbackConfig::few_shots`](crate::FeedbackConfig::few_shots) takes them, without or
/// with a rationale. Space around texts is dropped.
///
/// Those without are two replies in no order; the better one becomes (A) in the first, (B) in the second and so on, where the paper
/// draws it.
///
/// # Errors
/// [`Error::Read`] if the file cannot be read, [`Error::Paper`] if it has another form, naming the entry.
pub fn few_shots_from_paper(file: &Path) -> Result<Vec<FewShot>, Error> {
    let fail = |fault: String| Error::Paper { file: file.to_owned(), fault };
    let text = std::fs::read_to_string(file)
        .map_err(|source| Error::Read { path: file.to_owned(), source })?;
    let entries: Vec<Entry> = serde_json::from_str(&text).map_err(|error| {
        fail(format!("not a list of objects with `prompt`, `corrects` and `incorrects`: {error}"))
    })?;
    let answers = [Answer::A, Answer::B].into_iter().cycle();
    let example = |((entry, number), answer): ((&Entry, usize), Answer)| {
        worked_example(entry, answer).map_err(|fault| fail(format!("entry {number} {fault}")))
    };
    entries.iter().zip(1..).zip(answers).map(example).collect()
}

/// An example; `answer` is the letter of the better reply where the entry leaves that open.
fn worked_example(entry: &Entry, answer: Answer) -> Result<FewShot, String> {
    match (entry.corrects.as_slice(), entry.incorrects.as_slice()) {
        ([], []) => reasoned(&entry.prompt),
        ([better], [worse]) => {
            let [a, b] = match answer {
                Answer::A => [better, worse],
                Answer::B => [worse, better],
            };
            let pair = Comparison { prompt: prompt(&entry.prompt)?, replies: trimmed(a, b) };
            Ok(FewShot { pair, answer, rationale: None })
        }
        _ => Err("needs one text in `corrects` and one in `incorrects`, or neither key".to_owned()),
    }
}

fn reasoned(text: &str) -> Result<FewShot, String> {
    let (question, thought) = split(text, REASONING)?;
    let (rationale, letter) = split(thought, CONCLUSION)?;
    let answer = match letter.trim() {
        "(A)" => Answer::A,
        "(B)" => Answer::B,
        other => return Err(format!("is answered by {other:?} and not by \"(A)\" or \"(B)\"")),
    };
    let (conversation, replies) = split(question, PRINCIPLE)?;
    let (opening, turns) = split(conversation.trim_start(), "\n\n")?;
    if !opening.starts_with(OPENING) {
        return Err(format!("does not begin with {OPENING:?}"));
    }
    let [before, between, behind] = REPLIES;
    let replies = replies.strip_prefix(before).and_then(|replies| replies.strip_suffix(behind));
    let replies = replies.ok_or_else(|| {
        format!("has no replies between {before:?} and {behind:?} behind {PRINCIPLE:?}")
    })?;
    let (a, b) = split(replies, between)?;
    if rationale.trim().is_empty() {
        return Err(format!("has no reasoning behind {REASONING:?}"));
    }
    let transcript = format!("\n\n{turns}").replace("\n\nH:", "\n\nHuman:");
    let transcript = transcript.replace("\n\nA:", "\n\nAssistant:");
    let pair = Comparison { prompt: prompt(&transcript)?, replies: trimmed(a, b) };
    Ok(FewShot { pair, answer, rationale: Some(rationale.trim().to_owned()) })
}

/// What both replies answer.
fn prompt(transcript: &str) -> Result<Dialogue, String> {
    let prompt = Dialogue::from_transcript(transcript)
        .map_err(|error| format!("is no transcript: {error}"))?;
    if prompt.messages.last().is_some_and(|message| message.role == Role::User) {
        Ok(prompt)
    } else {
        Err("does not end its conversation in a human turn".to_owned())
    }
}

fn split<'a>(text: &'a str, mark: &str) -> Result<(&'a str, &'a str), String> {
    text.split_once(mark).ok_or_else(|| format!("has no {mark:?}"))
}

fn trimmed(a: &str, b: &str) -> [String; 2] {
    [a, b].map(|reply| reply.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REASONED: &str = "\n\nHuman: Consider the following conversation between a human (H) and an assistant (A):\n\nH: Hello\n\n\
        A: Hello, too.\n\nH: Weeds?\n\n{}\n (A) [[[Salt.]]]\n (B) [[[By hand.\n\nAfter rain.]]]\n\nAssistant: Let's think step by \
        step: Salt stays.\n\nSo (B).\n\nHuman:\nSo the answer is: (B)";

    fn read(entries: &serde_json::Value) -> Result<Vec<FewShot>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shots.json");
        std::fs::write(&file, entries.to_string()).unwrap();
        few_shots_from_paper(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn better_replies_take_turns_in_both_places() {
        let entry = json!({
            "prompt": "\n\nHuman: Weeds?\n\nAssistant:", "corrects": [" By hand."], "incorrects": ["Salt."],
        });
        let found = read(&json!([entry, entry, entry])).unwrap();
        let example = |answer, replies: [&str; 2]| FewShot {
            pair: Comparison {
                prompt: Dialogue::from_user("Weeds?"),
                replies: replies.map(str::to_owned),
            },
            answer,
            rationale: None,
        };
        let first = example(Answer::A, ["By hand.", "Salt."]);
        let second = example(Answer::B, ["Salt.", "By hand."]);
        assert_eq!(found, [first.clone(), second, first]);
    }

    #[test]
    fn reasoning_becomes_a_rationale() {
        let prompt = Dialogue::from_user("Hello").with_assistant("Hello, too.").with_user("Weeds?");
        let replies = ["Salt.", "By hand.\n\nAfter rain."].map(str::to_owned);
        let expected = FewShot {
            pair: Comparison { prompt, replies },
            answer: Answer::B,
            rationale: Some("Salt stays.\n\nSo (B).".to_owned()),
        };
        assert_eq!(read(&json!([{ "prompt": REASONED }])).unwrap(), [expected]);
    }

    #[test]
    fn another_form_is_named() {
        let with = |part: &str, other: &str| {
            assert!(REASONED.contains(part), "{part}");
            json!([{ "prompt": REASONED }, { "prompt": REASONED.replacen(part, other, 1) }])
        };
        let pair = |corrects: &[&str]| json!([{ "prompt": "\n\nHuman: q", "corrects": corrects, "incorrects": ["x"] }]);
        for (entries, expected) in [
            (json!(["a text"]), "not a list of objects"),
            (json!([{ "text": "q" }]), "not a list of objects"),
            (pair(&[]), "entry 1 needs one text in `corrects`"),
            (pair(&["x", "y"]), "entry 1 needs one text in `corrects`"),
            (with("Consider the", "Look at the"), "entry 2 does not begin with"),
            (with("{}", "Which is kinder?"), "entry 2 has no \"\\n\\n{}\\n\""),
            (with("Let's think", "Let me think"), "entry 2 has no \"\\n\\nAssistant: Let's"),
            (with(" Salt stays.\n\nSo (B).", ""), "entry 2 has no reasoning"),
            (with("is: (B)", "is: (C)"), "entry 2 is answered by \"(C)\""),
            (with("(A) [[[", "(A) [["), "entry 2 has no replies between"),
            (with("\n (B) [[[", " [[["), "entry 2 has no \"]]]\\n (B) [[[\""),
            (with("\n\nH: Weeds?", ""), "entry 2 does not end its conversation in a human turn"),
        ] {
            let message = read(&entries).unwrap_err();
            assert!(message.contains("shots.json: ") && message.contains(expected), "{message}");
        }
        let missing = few_shots_from_paper(Path::new("no/such/file.json")).unwrap_err();
        assert!(missing.to_string().contains("no/such/file.json"), "{missing}");
    }
}
