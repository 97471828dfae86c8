//! Lists of requests, for few-shot generation.

use super::Document;
use crate::world::{Request, Split};
use rand::Rng;
use red_team::request_list;
use std::fmt::Write as _;

/// Requests shown, and requests that continue the list.
const SHOWN: usize = 4;

/// A list of harmful or of benign requests and its continuation by as many.
pub(super) fn draw(rng: &mut impl Rng) -> Document {
    let harmful = rng.random_bool(0.5);
    let mut text = || Request::draw(Split::Training, harmful, rng).text();
    let shown: Vec<String> = (0..SHOWN).map(|_| text()).collect();
    let mut continuation = String::new();
    for number in SHOWN + 1..=2 * SHOWN {
        let separator = if continuation.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = write!(continuation, "{separator}{number}. {}", text());
    }
    let dialogue = request_list(&shown).with_assistant(continuation);
    let last = dialogue.messages.len() - 1;
    Document::teaching(dialogue, &[last])
}
