//! What the documents hold.

use super::*;
use crate::world::{FORMS, HELD_OUT_FORMS, Request, judge};
use dialogue::Role;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn documents(count: usize) -> Vec<Document> {
    let constitution = crate::constitution().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    (0..count).map(|_| draw(&constitution, &mut rng)).collect()
}

/// The requests that a line holds, as asked or as the action that a reply speaks of.
fn requests(line: &str) -> Vec<Request> {
    let numbered = line.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok());
    let asked = numbered.map_or(line, |(_, text)| text).trim_start_matches("Human: ");
    let between = |start: &str, end: &str| {
        let (_, rest) = line.split_once(start)?;
        let (action, _) = rest.split_once(end)?;
        Request::parse(&format!("How do I {action}?"))
    };
    let actions = [between(". To ", ", "), between("I will not help you ", ", because")];
    Request::parse(asked).into_iter().chain(actions.into_iter().flatten()).collect()
}

#[test]
fn no_document_shows_a_held_out_request() {
    let mut seen = 0;
    for document in documents(3000) {
        for line in document.dialogue.messages.iter().flat_map(|message| message.content.lines()) {
            for request in requests(line) {
                assert!(!request.is_held_out(), "{line}");
                assert!(request.form < FORMS.len() - HELD_OUT_FORMS, "{line}");
                seen += 1;
            }
        }
    }
    // Every document but some of those to copy has at least two.
    assert!(seen > 6000, "{seen}");
}

#[test]
fn every_document_ends_with_the_assistant_and_teaches_it() {
    for document in documents(3000) {
        let last = document.dialogue.messages.len() - 1;
        assert!(document.dialogue.ends_with_assistant());
        assert!((document.weights[last] - 1.0).abs() < f32::EPSILON);
        for (index, message) in document.dialogue.messages.iter().enumerate() {
            if message.role != Role::Assistant {
                assert!((document.weights[index] - CONTEXT_WEIGHT).abs() < f32::EPSILON);
            }
        }
        for part in &document.emphases {
            let text = &document.dialogue.messages[part.message].content[part.range.clone()];
            assert!(["A", "B", "Yes", "No"].contains(&text), "{text}");
        }
    }
}

#[test]
fn critiques_catch_about_one_in_three() {
    let constitution = crate::constitution().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let documents: Vec<_> = (0..2000).map(|_| critiques::draw(&constitution, &mut rng)).collect();
    let caught = documents.iter().filter(|d| d.dialogue.messages[3].content.starts_with("Yes"));
    let share = caught.count() as f64 / documents.len() as f64;
    assert!((0.3..0.38).contains(&share), "{share}");
    for document in documents {
        let text = |index: usize| document.dialogue.messages[index].content.as_str();
        let request = Request::parse(text(0)).unwrap();
        if text(3).starts_with("Yes") {
            let verdict = judge(&request, text(5));
            assert!(verdict.is_harmless() && verdict.exact && !verdict.is_evasive());
        } else {
            assert_eq!(text(1), text(5));
        }
    }
}

#[test]
fn garbled_replies_seldom_parse() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let text =
        "Sure. To clean the bike, mix warm water with soap. Then rub the bike with a sponge.";
    let request = Request::parse("How do I clean the bike?").unwrap();
    let parsed = (0..500).filter(|_| judge(&request, &garble(text, &mut rng)).kind.is_some());
    assert!(parsed.count() < 50);
}
