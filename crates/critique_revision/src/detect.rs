//! Finding texts that are not what they were asked to be.
//!
//! Models confuse whose turn it is (section 3.1 of arXiv 2212.08073): they revise where they should criticise, and the
//! other way round. What tells the two apart is what a text speaks of. A critique speaks of the assistant or of its reply,
//! a reply speaks to the human. In the 160 steps and five worked examples that the paper's repository holds, 161 of 165
//! critiques name the assistant or its reply in so many words, and of 165 revisions 5; the tests repeat the count. The
//! heuristics read English, and they count and sort rather than judge: a critique that says what is wrong without a word
//! about the reply is taken for a revision.

use crate::Failure;
use language_model::{Completion, StopReason};
use std::collections::HashSet;

/// Words by which a critique names what it is about.
const SUBJECT: [&str; 7] =
    ["assistant", "response", "responses", "reply", "replies", "answer", "answers"];

/// Words before `assistant` that make it somebody else, as in a critique; a reply says `an assistant`.
const POINTERS: [&str; 5] = ["the", "this", "preceding", "previous", "last"];

/// Words for a reply. `answer` is none of them: a good reply may well begin with `The answer is`.
const REPLY: [&str; 2] = ["response", "reply"];

/// Words by which a text says that it is a revision.
const REVISED: [&str; 4] = ["revision", "revised", "rewritten", "rewrite"];

/// Words of a text that count as its opening.
const OPENING: usize = 8;

/// From this share of common runs of three words on, a text restates another. In the paper's steps the highest share is
/// 0.26.
const RESTATED: f64 = 0.5;

/// What is wrong with a critique of `reply`.
pub fn critique_failures(critique: &Completion, reply: &str) -> Vec<Failure> {
    let confused = critique_is_revision(&critique.text, reply);
    confused.then_some(Failure::CritiqueIsRevision).into_iter().collect()
}

/// What is wrong with a revision of `reply` after `critique`, which is empty if there was none. An empty revision is
/// nothing else beside.
pub fn revision_failures(revision: &Completion, reply: &str, critique: &str) -> Vec<Failure> {
    if revision.text.trim().is_empty() {
        return vec![Failure::Empty];
    }
    let found = [
        (Failure::RevisionIsCritique, revision_is_critique(&revision.text, critique)),
        (Failure::Truncated, revision.stopped != StopReason::Stop),
        (Failure::Unchanged, is_unchanged(&revision.text, reply)),
    ];
    found.into_iter().filter_map(|(failure, found)| found.then_some(failure)).collect()
}

/// True if a critique is rather a revision of `reply`: it opens as one (`Revision: …`, `Here is a rewritten …`), restates
/// the reply, or speaks neither of the assistant nor of its reply. An empty one is not.
pub fn critique_is_revision(critique: &str, reply: &str) -> bool {
    let said = words(critique);
    !said.is_empty()
        && (opens_as_revision(&said) || restates(&said, &words(reply)) || !names_reply(&said))
}

/// True if a revision is rather a critique: it opens as one (`Critique: …`, `This response is …`), speaks of the
/// assistant as of somebody else, or restates `critique`.
pub fn revision_is_critique(revision: &str, critique: &str) -> bool {
    let said = words(revision);
    opens_as_critique(&said) || points_at_assistant(&said) || restates(&said, &words(critique))
}

/// True if a revision is the reply but for white space.
pub fn is_unchanged(revision: &str, reply: &str) -> bool {
    revision.split_whitespace().eq(reply.split_whitespace())
}

fn names_reply(words: &[String]) -> bool {
    words.iter().any(|word| SUBJECT.contains(&word.as_str()))
}

fn opens_as_revision(words: &[String]) -> bool {
    let opening = &words[..words.len().min(OPENING)];
    match opening {
        [first, rest @ ..] if first == "here" => rest.iter().any(|word| is(word, &REVISED)),
        [first, ..] => is(first, &REVISED),
        [] => false,
    }
}

fn opens_as_critique(words: &[String]) -> bool {
    let opening = &words[..words.len().min(OPENING)];
    match opening {
        [first, ..] if first == "critique" || first == "critiquerequest" => true,
        [first, second, ..] if first == "the" => {
            is(second, &REPLY) || (is(second, &POINTERS) && opening.iter().any(|w| is(w, &REPLY)))
        }
        [first, rest @ ..] if first == "this" => rest.iter().any(|word| is(word, &REPLY)),
        _ => false,
    }
}

fn points_at_assistant(words: &[String]) -> bool {
    let points = |pair: &[String]| pair[1] == "assistant" && is(&pair[0], &POINTERS);
    words.first().is_some_and(|first| first == "assistant") || words.windows(2).any(points)
}

fn is(word: &str, of: &[&str]) -> bool {
    of.contains(&word)
}

/// True if most runs of three words of a text stand in another; a text of fewer words restates nothing.
fn restates(text: &[String], other: &[String]) -> bool {
    let runs: HashSet<&[String]> = text.windows(3).collect();
    let others: HashSet<&[String]> = other.windows(3).collect();
    let common = runs.intersection(&others).count();
    !runs.is_empty() && common as f64 >= RESTATED * runs.len() as f64
}

/// The words of a text in lower case, without punctuation and the `'s` of a possessive.
fn words(text: &str) -> Vec<String> {
    let inside = |character: char| character.is_alphanumeric() || matches!(character, '\'' | '’');
    let bare = |word: &str| {
        let word = word.trim_matches(['\'', '’']).to_lowercase();
        let possessed = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s"));
        possessed.map(str::to_owned).unwrap_or(word)
    };
    let words = text.split(|character| !inside(character)).map(bare);
    words.filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests;
