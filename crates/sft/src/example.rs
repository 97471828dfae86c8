//! A row of tokens and what is to be learnt from each.

use crate::Error;
use dialogue::Dialogue;
use transformer::{Codec, ModelConfig, Packed, Targets};

/// A row of tokens with the weight of each one's loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// `weights[i]` weighs the loss of predicting `tokens[i]` from those before it, at least 0; `weights[0]` is ignored,
    /// since nothing stands before the first token.
    pub weights: Vec<f32>,
}

impl Example {
    /// Weight 1 on the tokens of the assistant's turns, those that end a turn included, and 0 on all others.
    ///
    /// # Errors
    /// If the chat template cannot render the dialogue, or no assistant turn is in it.
    pub fn from_dialogue(codec: &Codec, dialogue: &Dialogue) -> Result<Self, Error> {
        let encoded = codec.encode_dialogue(dialogue)?;
        if !encoded.assistant.contains(&true) {
            return Err(Error::NoReply { id: dialogue.id() });
        }
        let weights = encoded.assistant.iter().map(|&learn| f32::from(u8::from(learn))).collect();
        Ok(Self { tokens: encoded.tokens, weights })
    }

    /// Weight 1 on every token, as in pretraining.
    pub fn unmasked(tokens: Vec<u32>) -> Self {
        let weights = vec![1.0; tokens.len()];
        Self { tokens, weights }
    }

    /// Places of the tokens that carry a loss.
    pub fn targets(&self) -> impl DoubleEndedIterator<Item = usize> {
        (1..self.tokens.len()).filter(|&place| self.learns(place))
    }

    /// Whether the token at this place, which is not the first, carries a loss.
    pub(crate) fn learns(&self, place: usize) -> bool {
        self.weights[place] > 0.0
    }

    /// What the model has to read: everything before the last token that carries a loss.
    pub fn inputs(&self) -> &[u32] {
        &self.tokens[..self.targets().next_back().unwrap_or(0)]
    }

    /// The number of tokens that carry a loss.
    pub(crate) fn target_count(&self) -> usize {
        self.targets().count()
    }

    /// The sum of their weights.
    pub(crate) fn weight_sum(&self) -> f64 {
        self.targets().map(|place| f64::from(self.weights[place])).sum()
    }

    /// Says what contradicts itself or the model; `name` is what an error calls the example, such as `example 3`.
    ///
    /// # Errors
    /// [`Error::Example`] or [`Error::Overlong`].
    pub fn check(&self, name: impl Fn() -> String, model: &ModelConfig) -> Result<(), Error> {
        let wrong = |what, found: String, expected: String| {
            Err(Error::Example { which: name(), what, found, expected })
        };
        if self.weights.len() != self.tokens.len() {
            let expected = format!("{}, one a token", self.tokens.len());
            return wrong("the number of weights", self.weights.len().to_string(), expected);
        }
        if let Some(weight) =
            self.weights.iter().find(|&&weight| !(weight >= 0.0 && weight.is_finite()))
        {
            return wrong("a weight", weight.to_string(), "a number of at least 0".to_owned());
        }
        let vocabulary = model.vocab_size;
        if let Some(token) = self.tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return wrong("a token", token.to_string(), format!("below {vocabulary}"));
        }
        if self.targets().next().is_none() {
            let expected = "at least 1 after the first token".to_owned();
            return wrong("the number of weights above 0", "0".to_owned(), expected);
        }
        let (tokens, context) = (self.tokens.len(), model.max_position_embeddings);
        if tokens > context {
            return Err(Error::Overlong { which: name(), tokens, context });
        }
        Ok(())
    }
}

/// Where packed rows take a loss, and with which weights: the state at a token predicts the one behind it.
pub(crate) fn targets(rows: &[&Example], packed: &Packed) -> (Targets, Vec<f32>) {
    let mut targets = Targets { positions: Vec::new(), tokens: Vec::new() };
    let mut weights = Vec::new();
    for (row, example) in rows.iter().enumerate() {
        for place in example.targets() {
            targets.positions.push(packed.place(row, place - 1));
            targets.tokens.push(example.tokens[place]);
            weights.push(example.weights[place]);
        }
    }
    (targets, weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model};

    fn example(tokens: &[u32], weights: &[f32]) -> Example {
        Example { tokens: tokens.to_vec(), weights: weights.to_vec() }
    }

    #[test]
    fn learns_the_assistants_tokens_and_the_ends_of_its_turns() {
        let dialogue = Dialogue::from_user("a").with_assistant("b c").with_user("c");
        let example = Example::from_dialogue(&codec(), &dialogue.with_assistant("a")).unwrap();
        // <user> a <end> <assistant> b c <end> <user> c <end> <assistant> a <end>
        assert_eq!(example.tokens, [1, 4, 0, 2, 5, 6, 0, 1, 6, 0, 2, 4, 0]);
        let learnt = [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1];
        assert_eq!(example.weights, learnt.map(|learn: u8| f32::from(learn)));

        let unanswered = Dialogue::from_user("a");
        let message = Example::from_dialogue(&codec(), &unanswered).unwrap_err().to_string();
        assert!(message.contains(&unanswered.id()), "{message}");
    }

    #[test]
    fn takes_a_loss_where_the_weight_is_not_zero() {
        // The first weight is ignored, and nothing after the last target is read.
        let one = example(&[5, 6, 7, 8], &[9.0, 0.0, 0.5, 0.0]);
        let two = example(&[1, 2, 3, 4], &[0.0, 1.0, 0.0, 2.0]);
        assert_eq!(one.inputs(), [5, 6]);
        assert_eq!(two.inputs(), [1, 2, 3]);
        assert!((one.weight_sum() - 0.5).abs() < 1e-12);
        // Sorted, the second row lies before the first.
        let packed = Packed::new(&[one.inputs(), two.inputs()]);
        let (targets, weights) = targets(&[&one, &two], &packed);
        assert_eq!(targets.positions, [4, 0, 2]);
        assert_eq!(targets.tokens, [7, 2, 4]);
        assert_eq!(weights, [0.5, 1.0, 2.0]);
    }

    #[test]
    fn names_what_is_wrong() {
        let cases = [
            ("number of weights", example(&[1, 2], &[1.0])),
            ("a weight is -1", example(&[1, 2], &[1.0, -1.0])),
            ("a weight is NaN", example(&[1, 2], &[1.0, f32::NAN])),
            ("a token is 9, expected below 9", example(&[1, 9], &[1.0, 1.0])),
            ("the number of weights above 0 is 0", example(&[1, 2], &[1.0, 0.0])),
            ("example 3 has 17 tokens, but the context holds 16", Example::unmasked(vec![1; 17])),
        ];
        let model = model(9);
        for (part, example) in cases {
            let name = || "example 3".to_owned();
            let message = example.check(name, &model).unwrap_err().to_string();
            assert!(message.starts_with("example 3") && message.contains(part), "{message}");
        }
    }
}
