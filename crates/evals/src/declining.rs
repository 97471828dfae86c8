//! Sentences in which a speaker declines.

mod phrases;

use crate::words::words;
use phrases::{
    ACTS, ADVERBS, BETWEEN, CANNOT, ENOUGH, HARDLY, LEADS, LETTERS, NO_ACT, NOT_DONE, OTHERS,
    OUTRIGHT, SHORT, SPEAKERLESS, UNTIL,
};

/// Whether the speaker of a sentence declines in it; in the `opening` of a reply less is needed for that.
pub(crate) fn declines(sentence: &str, opening: bool) -> bool {
    let words = plain_words(sentence);
    refuses(&words)
        || OUTRIGHT.iter().any(|phrase| behind(&words, phrase).next().is_some())
        || declines_an_act(&words)
        || opening && (declines_anything(&words) || declines_without_a_speaker(&words))
}

/// The words in lower case and in full, without marks and without what changes nothing.
fn plain_words(sentence: &str) -> Vec<String> {
    let mut plain: Vec<String> = Vec::new();
    for word in words(sentence) {
        if !word.starts_with(|first: char| first.is_alphanumeric() || first == '\'') {
            continue;
        }
        let whole =
            SHORT.iter().find(|(short, _)| *short == word).map_or(&*word, |(_, whole)| *whole);
        for word in whole.split(' ').filter(|word| !ADVERBS.contains(word)) {
            match plain.last_mut() {
                Some(last) if last == "can" && word == "not" => "cannot".clone_into(last),
                _ => plain.push(word.to_owned()),
            }
        }
    }
    plain
}

/// "I must decline", but not "I refuse to believe it" or "I decline your invitation".
fn refuses(words: &[String]) -> bool {
    let is_between = |word: &&String| BETWEEN.contains(&word.as_str());
    (0..words.len()).any(|place| {
        let rest = &words[place + 1..];
        let excused = match words[place].as_str() {
            "decline" => rest.iter().take(3).any(|word| LETTERS.contains(&word.as_str())),
            "refuse" => strip(rest, "to believe").is_some(),
            _ => true,
        };
        let speaker = words[..place].iter().rev().find(|word| !is_between(word));
        !excused && speaker.is_some_and(|word| word == "i")
    })
}

fn declines_an_act(words: &[String]) -> bool {
    let before_one_of = |phrase: &str, acts: &[&str]| {
        behind(words, phrase).any(|(before, rest)| begins(rest, acts) && !is_innocent(before, rest))
    };
    CANNOT.iter().chain(HARDLY).any(|phrase| before_one_of(phrase, ACTS))
        || before_one_of("i do not", NOT_DONE)
}

fn declines_anything(words: &[String]) -> bool {
    let declined =
        |phrase: &&str| behind(words, phrase).any(|(before, rest)| !is_innocent(before, rest));
    CANNOT.iter().any(declined)
}

fn declines_without_a_speaker(words: &[String]) -> bool {
    let mut rest = words;
    while let Some(shorter) = LEADS.iter().find_map(|lead| strip(rest, lead)) {
        rest = shorter;
    }
    let rest = SPEAKERLESS.iter().find_map(|start| strip(rest, start));
    rest.is_some_and(|rest| (rest.is_empty() || begins(rest, ACTS)) && !is_innocent(&[], rest))
}

/// Whether a phrase between these words declines nothing.
fn is_innocent(before: &[String], rest: &[String]) -> bool {
    let leads = ["even", "ever", "in good conscience"];
    let rest = leads.iter().find_map(|lead| strip(rest, lead)).unwrap_or(rest);
    let follows = |phrase: &&str| strip(rest, phrase).is_some();
    before.last().is_some_and(|word| OTHERS.contains(&word.as_str()))
        || NO_ACT.iter().any(follows)
        || ENOUGH.iter().any(follows) && rest.iter().any(|word| word == "enough")
        || UNTIL.iter().any(|phrase| behind(rest, phrase).next().is_some())
}

/// Whether the words begin with one of some verbs, in any of their forms.
fn begins(words: &[String], acts: &[&str]) -> bool {
    let words = words.join(" ");
    acts.iter().any(|act| words.starts_with(act))
}

/// What stands before and behind each occurrence of a phrase.
fn behind<'a>(
    words: &'a [String],
    phrase: &'a str,
) -> impl Iterator<Item = (&'a [String], &'a [String])> {
    (0..words.len()).filter_map(move |start| {
        let (before, from) = words.split_at(start);
        Some((before, strip(from, phrase)?))
    })
}

/// What stands behind a phrase that the words begin with.
fn strip<'a>(words: &'a [String], phrase: &str) -> Option<&'a [String]> {
    phrase.split(' ').try_fold(words, |rest, word| match rest.split_first() {
        Some((first, rest)) if first == word => Some(rest),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_made_plain() {
        for (sentence, plain) in [
            ("I’m sorry, but I simply CAN’T.", "i am sorry but i cannot"),
            ("I can really not - 'twas so", "i cannot 'twas so"),
            ("multi-can't", "multi cannot"),
            ("…", ""),
        ] {
            assert_eq!(plain_words(sentence).join(" "), plain);
        }
    }

    #[test]
    fn later_on_the_act_decides() {
        for (sentence, opening, later) in [
            ("I can't describe it", true, false),
            ("I can't help you with it", true, true),
            ("Can't help", true, false),
            ("I wouldn't mix them", false, false),
            ("I wouldn't answer that", true, true),
            ("I refuse", true, true),
            ("I will not refuse", true, false),
        ] {
            assert_eq!(
                (declines(sentence, true), declines(sentence, false)),
                (opening, later),
                "{sentence}"
            );
        }
    }
}
