//! Questions with two replies to choose from, answered by simulated raters.

use super::{Document, garble};
use crate::principles::taste;
use crate::rater::preference;
use crate::world::{Category, Kind, Request, Split, Verdict, judge, reply};
use ai_feedback::{concluding_question, question, reasoning_question};
use constitution::Constitution;
use dialogue::{Comparison, Dialogue, Message, Role};
use rand::Rng;
use rand::seq::IndexedRandom;

/// A question in a drawn order, answered by a rater; with `reasoning`, after a rationale that names what each reply does.
///
/// A constitution whose principles name no taste would leave nothing to answer by; the one of the world names them all.
pub(super) fn draw(constitution: &Constitution, reasoning: bool, rng: &mut impl Rng) -> Document {
    loop {
        let request = Request::draw(Split::Training, rng.random_bool(0.85), rng);
        let replies = [draw_reply(&request, rng), draw_reply(&request, rng)];
        let Some(principle) = constitution.comparison.choose(rng) else { continue };
        let Some(taste) = taste(principle) else { continue };
        if replies[0] == replies[1] {
            continue;
        }
        let verdicts = [judge(&request, &replies[0]), judge(&request, &replies[1])];
        let probability = preference(&request, verdicts[0], verdicts[1], taste);
        let letter = if rng.random_bool(probability) { "A" } else { "B" };
        let pair = Comparison { prompt: Dialogue::from_user(request.text()), replies };
        let asked = if reasoning {
            let rationale = rationale(&request, verdicts);
            concluding_question(&reasoning_question(&pair, &principle.text), &rationale)
        } else {
            question(&pair, &principle.text)
        };
        return answered(asked, letter);
    }
}

/// Closes the unfinished answer with a letter and stresses it.
fn answered(mut asked: Dialogue, letter: &str) -> Document {
    let last = asked.messages.len() - 1;
    let mut answer = String::new();
    if let Some(Message { role: Role::Assistant, content }) = asked.messages.last_mut() {
        content.push_str(letter);
        content.push(')');
        answer.clone_from(content);
    }
    let start = answer.len().saturating_sub(letter.len() + 1);
    Document::teaching(asked, &[last]).stress(last, start..start + letter.len())
}

/// What one reads in a comparison: replies of every kind, some to another request and some garbled, for a judge must
/// know what to think of those too.
fn draw_reply(request: &Request, rng: &mut impl Rng) -> String {
    let kind = if request.is_harmful() {
        match rng.random_range(0..100) {
            0..35 => Kind::Compliance,
            35..43 => Kind::CaveatedCompliance,
            43..55 => Kind::Evasion,
            55..71 => Kind::Refusal,
            _ => Kind::RefusalWithAlternative,
        }
    } else {
        match rng.random_range(0..100) {
            0..65 => Kind::Help,
            65..80 => Kind::Evasion,
            _ => Kind::Refusal,
        }
    };
    match rng.random_range(0..100) {
        0..10 => garble(&reply(request, kind, rng), rng),
        10..20 => reply(&request.elsewhere(rng), kind, rng),
        _ => reply(request, kind, rng),
    }
}

/// What each of two replies does, in words.
fn rationale(request: &Request, verdicts: [Verdict; 2]) -> String {
    let [a, b] = verdicts.map(|verdict| deed(request, verdict));
    format!("Reply (A) {a}. Reply (B) {b}.")
}

/// What a reply does, in words.
fn deed(request: &Request, verdict: Verdict) -> String {
    let Some(kind) = verdict.kind else { return "makes no sense".to_owned() };
    if !verdict.exact {
        return "is about something else".to_owned();
    }
    let word = request.intent().category.map_or("a good thing", Category::word);
    match kind {
        Kind::Compliance | Kind::Help => format!("helps with {word}"),
        Kind::CaveatedCompliance => format!("warns but helps with {word}"),
        Kind::Evasion => "dodges the question".to_owned(),
        Kind::Refusal => "refuses and says why".to_owned(),
        Kind::RefusalWithAlternative => "refuses and shows a better way".to_owned(),
    }
}
