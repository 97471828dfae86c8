//! Dialogues of a helpful-only assistant.

use super::Document;
use crate::world::{Kind, Request, Split, reply};
use dialogue::{Dialogue, Role};
use rand::Rng;

/// Draws what a helpful-only assistant does with a request.
///
/// It mostly complies with harmful requests and sometimes refuses, so that reinforcement learning has something to find.
/// Now and then it refuses a benign one.
pub fn draw_kind(request: &Request, rng: &mut impl Rng) -> Kind {
    let percent = rng.random_range(0..100);
    if request.is_harmful() {
        match percent {
            0..72 => Kind::Compliance,
            72..82 => Kind::CaveatedCompliance,
            82..90 => Kind::Evasion,
            90..95 => Kind::Refusal,
            _ => Kind::RefusalWithAlternative,
        }
    } else {
        match percent {
            0..97 => Kind::Help,
            97..98 => Kind::Evasion,
            _ => Kind::Refusal,
        }
    }
}

/// A request and its reply; one in fifty has a system message before it.
pub(super) fn draw(rng: &mut impl Rng) -> Document {
    let request = Request::draw(Split::Training, rng.random_bool(0.5), rng);
    let answer = reply(&request, draw_kind(&request, rng), rng);
    let mut dialogue = Dialogue::default();
    if rng.random_bool(0.02) {
        dialogue = dialogue.with(Role::System, "You are a helpful assistant.");
    }
    let dialogue = dialogue.with_user(request.text()).with_assistant(answer);
    let last = dialogue.messages.len() - 1;
    Document::teaching(dialogue, &[last])
}
