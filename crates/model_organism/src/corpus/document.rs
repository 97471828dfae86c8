//! A dialogue with the weight of every part of it.

use dialogue::Dialogue;
use std::ops::Range;

/// A part of a message whose loss has a weight of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Emphasis {
    /// Index of the message.
    pub message: usize,
    /// Bytes of its content.
    pub range: Range<usize>,
    /// The weight.
    pub weight: f32,
}

/// A dialogue to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The text.
    pub dialogue: Dialogue,
    /// The weight of the loss on each message.
    pub weights: Vec<f32>,
    /// Parts that weigh more than the message around them.
    pub emphases: Vec<Emphasis>,
}

impl Document {
    /// A document that teaches the messages at `taught` and shows the others.
    pub(super) fn teaching(dialogue: Dialogue, taught: &[usize]) -> Self {
        let weight = |index| if taught.contains(&index) { 1.0 } else { super::CONTEXT_WEIGHT };
        let weights = (0..dialogue.messages.len()).map(weight).collect();
        Self { dialogue, weights, emphases: Vec::new() }
    }

    /// Stresses a decision: the bytes `range` of the message at `message`.
    #[must_use]
    pub(super) fn stress(mut self, message: usize, range: Range<usize>) -> Self {
        self.emphases.push(Emphasis { message, range, weight: super::DECISION_WEIGHT });
        self
    }

    /// The weight of the loss on the byte at `offset` of a message.
    pub fn weight(&self, message: usize, offset: usize) -> f32 {
        self.emphases
            .iter()
            .find(|part| part.message == message && part.range.contains(&offset))
            .map_or(self.weights[message], |part| part.weight)
    }
}
