//! Texts to copy. Attention learns to copy from them, and every slot of every reply depends on it.

use super::Document;
use crate::world::{Request, Slots, Split, reply};
use dialogue::Dialogue;
use rand::Rng;
use rand::seq::IndexedRandom;

/// A text and its copy: half of them random words, half the replies of the world.
pub(super) fn draw(rng: &mut impl Rng) -> Document {
    let text = if rng.random_bool(0.5) {
        let words = rng.random_range(6..16);
        let word = |rng: &mut _| {
            let slots = Slots::draw(rng);
            [slots.thing, slots.person, slots.place].choose(rng).copied()
        };
        (0..words).filter_map(|_| word(rng)).collect::<Vec<_>>().join(" ")
    } else {
        let request = Request::draw(Split::Training, rng.random_bool(0.5), rng);
        reply(&request, super::draw_kind(&request, rng), rng)
    };
    let dialogue = Dialogue::from_user(format!("Repeat: {text}")).with_assistant(text);
    Document::teaching(dialogue, &[1])
}
