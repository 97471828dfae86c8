//! What the documents hold.

use super::*;
use crate::world::{Request, judge};
use dialogue::Role;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn documents(count: usize) -> Vec<Document> {
    let constitution = crate::constitution().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    (0..count).map(|_| draw(&constitution, &mut rng)).collect()
}

#[test]
fn no_document_shows_a_held_out_request() {
    for document in documents(3000) {
        for message in &document.dialogue.messages {
            for line in message.content.lines() {
                let line = line.trim_start_matches("Human: ");
                let line = line.split_once(". ").filter(|(n, _)| n.parse::<u8>().is_ok());
                let text = line.map_or(message.content.as_str(), |(_, text)| text);
                assert!(Request::parse(text).is_none_or(|request| !request.is_held_out()));
            }
        }
    }
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
fn critiques_catch_about_two_in_five() {
    let constitution = crate::constitution().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let documents: Vec<_> = (0..2000).map(|_| critiques::draw(&constitution, &mut rng)).collect();
    let caught = documents.iter().filter(|d| d.dialogue.messages[3].content.starts_with("Yes"));
    let share = caught.count() as f64 / documents.len() as f64;
    assert!((0.34..0.42).contains(&share), "{share}");
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
