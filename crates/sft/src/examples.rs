//! Dialogues as examples that fit a model.

use crate::lesson::Lessons;
use crate::{Error, Example, Source};
use dialogue::Dialogue;
use training::Overlong;
use transformer::{Codec, ModelConfig};

/// The examples of dialogues, and what became of dialogues that are longer than the context.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples {
    /// Those that fit, in the order of their dialogues.
    pub kept: Vec<Example>,
    /// Dialogues left out as longer than the context.
    pub overlong: usize,
    /// Dialogues that lost their oldest turns.
    pub shortened: usize,
}

impl Examples {
    /// The examples that [`crate::SftConfig::fit`] learns from the same dialogues.
    ///
    /// # Errors
    /// If a dialogue cannot be rendered or has no assistant turn, or is longer than the context where `overlong` says so.
    pub fn of_dialogues(
        codec: &Codec,
        model: &ModelConfig,
        dialogues: &[Dialogue],
        overlong: Overlong,
    ) -> Result<Self, Error> {
        let source = Source { name: "dialogues", items: dialogues };
        // The seed orders what is held out, and here nothing is.
        let lessons = Lessons::of_dialogues(codec, model, &[source], overlong, 0)?;
        let Lessons { kept, overlong, shortened } = lessons;
        let kept = kept.into_iter().map(|lesson| lesson.example.into_owned()).collect();
        Ok(Self { kept, overlong, shortened })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model};

    /// Exchanges of `<user> a <end> <assistant> b <end>`, 6 tokens each; the context holds 16.
    fn exchanges(count: usize) -> Dialogue {
        (0..count).fold(Dialogue::default(), |d, _| d.with_user("a").with_assistant("b"))
    }

    #[test]
    fn counts_what_it_leaves_out_or_shortens() {
        let dialogues = [exchanges(2), exchanges(4), exchanges(1)];
        let of =
            |overlong| Examples::of_dialogues(&codec(), &model(12), &dialogues, overlong).unwrap();
        let lengths = |found: &Examples| -> Vec<usize> {
            found.kept.iter().map(|example| example.tokens.len()).collect()
        };
        let dropped = of(Overlong::Drop);
        assert_eq!((lengths(&dropped), dropped.overlong, dropped.shortened), (vec![12, 6], 1, 0));
        let shortened = of(Overlong::OldestTurns);
        let found = (lengths(&shortened), shortened.overlong, shortened.shortened);
        assert_eq!(found, (vec![12, 12, 6], 0, 1));
        let error = Examples::of_dialogues(&codec(), &model(12), &dialogues, Overlong::Error);
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("dialogue 1 of `dialogues` ("), "{message}");
    }
}
