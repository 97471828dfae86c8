//! Replies of several models to the same prompts, as files hold them.

use crate::Error;
use crate::asked::Asked;
use dataset::Reading;
use dialogue::Dialogue;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// A prompt and a reply to it.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
struct Answered {
    prompt: Dialogue,
    reply: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    prompt: Asked,
    /// Null where the prompt was refused, but there.
    #[serde(deserialize_with = "Option::deserialize")]
    reply: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("`prompt` is blank")]
struct Blank;

impl TryFrom<Row> for Answered {
    type Error = Blank;

    fn try_from(row: Row) -> Result<Self, Blank> {
        let prompt = row.prompt.prompt();
        if prompt.last_request().is_none_or(|request| request.trim().is_empty()) {
            return Err(Blank);
        }
        Ok(Self { prompt, reply: row.reply })
    }
}

/// Prompts, and for every player a reply to each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The prompts, in the order of the first file.
    pub prompts: Vec<Dialogue>,
    /// One reply a prompt, by the player's name; none to a prompt that was refused.
    pub replies: BTreeMap<String, Vec<Option<String>>>,
}

/// What is a row.
const ACCEPTED: &str =
    r#"{"prompt": text or messages, "reply": text, or null where the prompt was refused}"#;

/// Reads the replies of players from a file each, of any format that [`Reading`] reads, for [`crate::judge_pairwise`].
///
/// A row is `{"prompt": text or messages, "reply": text}`, with null as the reply to a prompt that was refused; other fields are
/// ignored. All files have replies to the same
/// prompts, in any order.
///
/// # Errors
/// [`Error::Dataset`] for a file without a row, and names file, row and field of a row of another form; [`Error::RepeatedPrompt`],
/// [`Error::RepeatedPlayer`], and [`Error::NoReply`] for the first prompt that a player has no reply to.
pub fn read_answers(players: &[(String, PathBuf)], reading: &Reading) -> Result<Answers, Error> {
    let mut answers = Answers { prompts: Vec::new(), replies: BTreeMap::new() };
    for (player, path) in players {
        let (prompts, mut by_prompt) = read(path, reading)?;
        if answers.replies.is_empty() {
            answers.prompts = prompts;
        } else if let Some(prompt) = first_beside(&prompts, &answers.prompts) {
            return Err(no_reply(&players[0].1, prompt));
        }
        let of = |prompt| by_prompt.remove(prompt).ok_or_else(|| no_reply(path, prompt));
        let replies = answers.prompts.iter().map(of).collect::<Result<_, _>>()?;
        if answers.replies.insert(player.clone(), replies).is_some() {
            return Err(Error::RepeatedPlayer(player.clone()));
        }
    }
    Ok(answers)
}

/// The first of some prompts that is none of the known ones.
fn first_beside<'a>(prompts: &'a [Dialogue], known: &[Dialogue]) -> Option<&'a Dialogue> {
    let known: HashSet<&Dialogue> = known.iter().collect();
    prompts.iter().find(|one| !known.contains(one))
}

/// Prompts in their order, and the reply to each; none to what was refused.
type Replies = (Vec<Dialogue>, HashMap<Dialogue, Option<String>>);

/// The prompts and replies of a file.
fn read(path: &Path, reading: &Reading) -> Result<Replies, Error> {
    let (mut prompts, mut replies) = (Vec::new(), HashMap::new());
    for row in reading.records::<Answered>(path, ACCEPTED)? {
        let Answered { prompt, reply } = row?;
        prompts.push(prompt.clone());
        let said = shown(&prompt);
        if replies.insert(prompt, reply).is_some() {
            return Err(Error::RepeatedPrompt { path: path.to_owned(), prompt: said });
        }
    }
    Ok((prompts, replies))
}

fn no_reply(path: &Path, prompt: &Dialogue) -> Error {
    Error::NoReply { path: path.to_owned(), id: prompt.id(), prompt: shown(prompt) }
}

/// The beginning of what is asked.
fn shown(prompt: &Dialogue) -> String {
    prompt.last_request().unwrap_or_default().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Answers, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = |index: usize| folder.path().join(format!("{index}.jsonl"));
        for (index, (_, text)) in files.iter().enumerate() {
            std::fs::write(path(index), text).unwrap();
        }
        let players: Vec<(String, PathBuf)> = files
            .iter()
            .enumerate()
            .map(|(index, (player, _))| ((*player).to_owned(), path(index)))
            .collect();
        read_answers(&players, &Reading::default())
    }

    const ONE: &str =
        "{\"prompt\": \"p\", \"reply\": \"a\"}\n{\"prompt\": \"q\", \"reply\": \"b\"}";

    #[test]
    fn replies_are_sorted_by_the_prompts_of_the_first() {
        let other = r#"{"prompt": [{"role": "user", "content": "q"}], "reply": "c", "id": 1}
            {"prompt": "p ", "reply": "d"}
            {"prompt": "r", "reply": null}"#;
        let one = format!("{ONE}\n{{\"prompt\": \"r\", \"reply\": \"e\"}}");
        let found = read(&[("one", one.as_str()), ("other", other)]).unwrap();
        assert_eq!(found.prompts, ["p", "q", "r"].map(Dialogue::from_user));
        let texts = |player: &str| -> Vec<Option<&str>> {
            found.replies[player].iter().map(Option::as_deref).collect()
        };
        assert_eq!(texts("one"), [Some("a"), Some("b"), Some("e")]);
        assert_eq!(texts("other"), [Some("d"), Some("c"), None]);
    }

    #[test]
    fn what_does_not_match_is_named() {
        let first = ONE.lines().next().unwrap();
        let more = format!("{ONE}\n{{\"prompt\": \"r\", \"reply\": \"c\"}}");
        for (files, parts) in [
            ([("a", ONE), ("b", first)], ["1.jsonl", "\"q\""]),
            ([("a", ONE), ("b", more.as_str())], ["0.jsonl", "\"r\""]),
            ([("a", ONE), ("a", ONE)], ["player a", "two files"]),
            ([("a", ONE), ("b", "")], ["1.jsonl", "no row"]),
            ([("a", "{\"prompt\": \" \", \"reply\": \"a\"}"), ("b", ONE)], ["line 1", "blank"]),
            ([("a", "{\"prompt\": 3, \"reply\": \"a\"}"), ("b", ONE)], ["line 1", "`prompt`"]),
            ([("a", "{\"prompt\": \"p\"}"), ("b", ONE)], ["line 1", "`reply`"]),
        ] {
            let message = read(&files).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
        let twice = format!("{first}\n{first}");
        let message = read(&[("a", twice.as_str())]).unwrap_err().to_string();
        assert!(message.contains("0.jsonl") && message.contains("twice"), "{message}");
    }
}
