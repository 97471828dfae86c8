//! What the embedded model is pretrained on.
//!
//! Documents of six kinds are drawn one by one from a stream, so that no document needs to be seen twice:
//!
//! | kind | share | teaches |
//! |---|---|---|
//! | `dialogues` | 0.27 | to answer as a helpful-only assistant does |
//! | `critiques` | 0.33 | to criticise a reply by a principle and to revise it |
//! | `comparisons` | 0.22 | to choose the better of two replies |
//! | `comparisons`, with reasoning | 0.08 | to think before choosing |
//! | `lists` | 0.05 | to continue a list of requests |
//! | `copies` | 0.05 | to copy, on which the slots of all others depend |
//!
//! Every text that the loop shows to the model is rendered here by the very function that renders it there.

mod comparisons;
mod copies;
mod critiques;
mod dialogues;
mod document;
mod garble;
mod lists;

pub use dialogues::draw_kind;
pub use document::{Document, Emphasis};
pub use garble::garble;

use constitution::Constitution;
use rand::Rng;

/// The weight of the loss on text that the model need not produce: requests, principles, given replies.
pub const CONTEXT_WEIGHT: f32 = 0.08;

/// The weight of the loss on a decision: the verdict that opens a critique, and the letter of an answer.
pub const DECISION_WEIGHT: f32 = 4.0;

/// Draws a document of the mixture.
pub fn draw(constitution: &Constitution, rng: &mut impl Rng) -> Document {
    match rng.random_range(0..100) {
        0..27 => dialogues::draw(rng),
        27..60 => critiques::draw(constitution, rng),
        60..82 => comparisons::draw(constitution, false, rng),
        82..90 => comparisons::draw(constitution, true, rng),
        90..95 => lists::draw(rng),
        _ => copies::draw(rng),
    }
}

#[cfg(test)]
mod tests;
