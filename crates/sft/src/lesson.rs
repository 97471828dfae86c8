//! What is learnt from: examples that fit the model, and where they come from.

use crate::fit::STAGE;
use crate::shorten::shortened;
use crate::{Error, Example, Source};
use dialogue::{Dialogue, Role};
use language_model::item_seed;
use std::borrow::Cow;
use training::{Fingerprint, Overlong, groups};
use transformer::{Codec, ModelConfig};

/// An example and where it comes from.
#[derive(Debug)]
pub(crate) struct Lesson<'a> {
    pub(crate) example: Cow<'a, Example>,
    /// The place of its source.
    pub(crate) source: usize,
    /// Where its prompt stands in the random order by which prompts are held out; prompts that must be on one side stand at
    /// the same place.
    rank: u64,
}

/// Everything that is learnt from.
#[derive(Debug, Default)]
pub(crate) struct Lessons<'a> {
    pub(crate) kept: Vec<Lesson<'a>>,
    /// Left out as longer than the context.
    pub(crate) overlong: usize,
    /// Without their oldest turns.
    pub(crate) shortened: usize,
}

/// Places in [`Lessons::kept`]: what is learnt from and what is held out.
pub(crate) type Split = (Vec<usize>, Vec<usize>);

impl<'a> Lessons<'a> {
    /// Tokenises dialogues; `overlong` says what becomes of those that are longer than the context.
    pub(crate) fn of_dialogues(
        codec: &Codec,
        model: &ModelConfig,
        sources: &[Source<'_, Dialogue>],
        overlong: Overlong,
        seed: u64,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        for (source, part) in sources.iter().enumerate() {
            for (index, dialogue) in part.items.iter().enumerate() {
                let example = Example::from_dialogue(codec, dialogue)?;
                // Of the dialogue as it came: without its oldest turns it begins with another prompt than a shorter
                // dialogue that has a reply in common with it.
                let rank = rank(seed, dialogue);
                let name = || format!("dialogue {index} of `{}` ({})", part.name, dialogue.id());
                match example.check(name, model) {
                    Ok(()) => found.keep(Cow::Owned(example), source, rank),
                    Err(Error::Overlong { context, .. }) if overlong == Overlong::OldestTurns => {
                        match shortened(codec, dialogue, context)? {
                            Some(example) => {
                                found.shortened += 1;
                                found.keep(Cow::Owned(example), source, rank);
                            }
                            None => found.overlong += 1,
                        }
                    }
                    Err(Error::Overlong { .. }) if overlong == Overlong::Drop => {
                        found.overlong += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        found.group();
        Ok(found)
    }

    /// Checks examples; those that are longer than the context have no turns to leave out and are left out themselves,
    /// unless that is an error.
    pub(crate) fn of_examples(
        model: &ModelConfig,
        sources: &[Source<'a, Example>],
        overlong: Overlong,
        seed: u64,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        for (source, part) in sources.iter().enumerate() {
            for (index, example) in part.items.iter().enumerate() {
                match example.check(|| format!("example {index} of `{}`", part.name), model) {
                    Ok(()) => found.keep(Cow::Borrowed(example), source, rank_of(seed, example)),
                    Err(Error::Overlong { .. }) if overlong != Overlong::Error => {
                        found.overlong += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// Puts what looks alike to the model, since it lacks its oldest turns, at one place.
    fn group(&mut self) {
        let prompts = self.kept.iter().map(|lesson| (lesson.rank, prompt_of(&lesson.example)));
        let ranks = groups(prompts);
        for (lesson, rank) in self.kept.iter_mut().zip(ranks) {
            lesson.rank = rank;
        }
    }

    fn keep(&mut self, example: Cow<'a, Example>, source: usize, rank: u64) {
        self.kept.push(Lesson { example, source, rank });
    }

    /// The share counts prompts, so that none is on both sides, neither as it came nor as the model sees it; at least one is
    /// on each, unless nothing is held out. Which are held out depends on the seed and on what the prompts say, not on their
    /// order.
    pub(crate) fn split(&self, share: f64) -> Result<Split, Error> {
        if share == 0.0 {
            return Ok(((0..self.kept.len()).collect(), Vec::new()));
        }
        let mut prompts: Vec<u64> = self.kept.iter().map(|lesson| lesson.rank).collect();
        prompts.sort_unstable();
        prompts.dedup();
        if prompts.len() < 2 {
            return Err(Error::NothingHeldOut { share, prompts: prompts.len() });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let count = (share * prompts.len() as f64).round() as usize;
        let last = prompts[count.clamp(1, prompts.len() - 1) - 1];
        Ok((0..self.kept.len()).partition(|&place| self.kept[place].rank > last))
    }
}

/// The place of a dialogue's prompt in the order by which prompts are held out.
///
/// The prompt is what stands before the first reply. Every reply is learnt from, so two dialogues with a prompt of a reply in
/// common have this one in common too.
fn rank(seed: u64, dialogue: &Dialogue) -> u64 {
    let opening = dialogue.messages.iter().take_while(|message| message.role != Role::Assistant);
    rank_by(seed, &Dialogue::new(opening.cloned().collect()).id())
}

/// The place of an example's prompt in that order.
fn rank_of(seed: u64, example: &Example) -> u64 {
    let bytes: Vec<u8> = prompt_of(example).iter().flat_map(|token| token.to_le_bytes()).collect();
    rank_by(seed, &Fingerprint::default().with_bytes("prompt", &bytes).finish())
}

/// What stands before the first token that carries a loss. If that is a single token, which would be the one that begins every
/// text, the whole example counts as its prompt.
fn prompt_of(example: &Example) -> &[u32] {
    match example.targets().next() {
        Some(first) if first > 1 => &example.tokens[..first],
        _ => &example.tokens,
    }
}

fn rank_by(seed: u64, prompt: &str) -> u64 {
    item_seed(seed, &[STAGE, "held_out", prompt])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, model};
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn of_dialogues(dialogues: &[Dialogue], overlong: Overlong) -> Result<Lessons<'static>, Error> {
        let sources = [
            Source { name: "a", items: &dialogues[..1] },
            Source { name: "b", items: &dialogues[1..] },
        ];
        Lessons::of_dialogues(&codec(), &model(12), &sources, overlong, 1)
    }

    /// Exchanges of `<user> a <end> <assistant> b <end>`, 6 tokens each; the context holds 16.
    fn exchanges(count: usize) -> Dialogue {
        (0..count).fold(Dialogue::default(), |d, _| d.with_user("a").with_assistant("b"))
    }

    #[test]
    fn what_is_too_long_is_dropped_shortened_or_an_error() {
        let lengthy = exchanges(1).with_user("c").with_assistant(["a"; 20].join(" "));
        let dialogues = [exchanges(2), exchanges(4), exchanges(1), lengthy];
        let dropped = of_dialogues(&dialogues, Overlong::Drop).unwrap();
        assert_eq!((dropped.kept.len(), dropped.overlong, dropped.shortened), (2, 2, 0));
        assert_eq!(dropped.kept.iter().map(|lesson| lesson.source).collect::<Vec<_>>(), [0, 1]);

        // The answer of 20 words is never cut, so its dialogue cannot fit.
        let shortened = of_dialogues(&dialogues, Overlong::OldestTurns).unwrap();
        assert_eq!((shortened.kept.len(), shortened.overlong, shortened.shortened), (3, 1, 1));
        assert_eq!(shortened.kept[1].example, shortened.kept[0].example);
        assert!(shortened.kept[1].example.tokens.len() <= 16);

        // Counted within its source.
        let message = of_dialogues(&dialogues, Overlong::Error).unwrap_err().to_string();
        let expected = format!(
            "dialogue 0 of `b` ({}) has 24 tokens, but the context holds 16; ",
            dialogues[1].id()
        );
        assert!(message.starts_with(&expected), "{message}");
    }

    #[test]
    fn a_shortened_dialogue_stays_on_the_side_of_its_shorter_siblings_and_of_what_it_looks_like() {
        // Of each prompt one dialogue that fits and one that goes on from it and loses that prompt; two of the latter at a
        // time are alike without it.
        let mut dialogues = Vec::new();
        for (openings, question) in [
            (["a", "b"], "a a"),
            (["c", "a b"], "b b"),
            (["b c", "c a"], "c c"),
            (["b a", "c b"], "a c"),
        ] {
            for opening in openings {
                let short = Dialogue::from_user(opening).with_assistant("b").with_user(question);
                let short = short.with_assistant("c");
                let long = short.clone().with_user("a").with_assistant("a b c");
                dialogues.extend([short, long]);
            }
        }
        let lessons = of_dialogues(&dialogues, Overlong::OldestTurns).unwrap();
        assert_eq!((lessons.kept.len(), lessons.shortened), (16, 8));
        assert_eq!(lessons.kept[1].example, lessons.kept[3].example);
        let (training, held_out) = lessons.split(0.5).unwrap();
        for side in [training, held_out] {
            assert_eq!(side.len(), 8);
            let together = |four: &[usize]| four[0].is_multiple_of(4) && four[3] == four[0] + 3;
            assert!(side.chunks(4).all(together), "{side:?}");
        }
    }

    #[test]
    fn examples_have_no_turns_to_leave_out() {
        let examples = [4, 4, 17].map(|length| Example::unmasked(vec![1; length]));
        let sources = [
            Source { name: "a", items: &examples[..1] },
            Source { name: "b", items: &examples[1..] },
        ];
        for overlong in [Overlong::Drop, Overlong::OldestTurns] {
            let found = Lessons::of_examples(&model(12), &sources, overlong, 1).unwrap();
            assert_eq!((found.kept.len(), found.overlong, found.shortened), (2, 1, 0));
        }
        let error = Lessons::of_examples(&model(12), &sources, Overlong::Error, 1).unwrap_err();
        let message = error.to_string();
        let expected = "example 1 of `b` has 17 tokens, but the context holds 16; ";
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn a_prompt_ends_before_the_first_loss() {
        let example = |tokens: &[u32], weights: &[f32]| Example {
            tokens: tokens.to_vec(),
            weights: weights.to_vec(),
        };
        let rank = |tokens: &[u32], weights: &[f32]| rank_of(1, &example(tokens, weights));
        let prompt = rank(&[1, 2, 3], &[0.0, 0.0, 1.0]);
        assert_eq!(prompt, rank(&[1, 2, 4, 5], &[0.0, 0.0, 2.0, 0.0]));
        assert_ne!(prompt, rank(&[2, 2, 3], &[0.0, 0.0, 1.0]));
        // Texts that begin alike are not one prompt.
        assert_ne!(rank(&[1, 2], &[1.0, 1.0]), rank(&[1, 3], &[1.0, 1.0]));
    }

    #[test]
    fn one_prompt_cannot_be_on_both_sides() {
        let dialogues = [exchanges(1), exchanges(2)];
        let lessons = of_dialogues(&dialogues, Overlong::Drop).unwrap();
        let error = lessons.split(0.5).unwrap_err();
        assert!(matches!(error, Error::NothingHeldOut { prompts: 1, .. }), "{error}");
        assert_eq!(lessons.split(0.0).unwrap(), (vec![0, 1], vec![]));
    }

    proptest! {
        #[test]
        fn no_prompt_is_on_both_sides_and_order_does_not_matter(
            prompts in prop::collection::vec(0_u32..10, 2..60),
            share in 0.01_f64..0.99,
            seed: u64,
        ) {
            let distinct: HashSet<u32> = prompts.iter().copied().collect();
            prop_assume!(distinct.len() > 1);
            let example = |(index, &prompt): (usize, &u32)| {
                let reply = u32::try_from(index % 12).unwrap();
                Example { tokens: vec![prompt, prompt, reply], weights: vec![0.0, 0.0, 1.0] }
            };
            let mut examples: Vec<Example> = prompts.iter().enumerate().map(example).collect();
            let mut split = || {
                let sources = [Source { name: "a", items: &examples }];
                let lessons =
                    Lessons::of_examples(&model(12), &sources, Overlong::Drop, seed).unwrap();
                let (training, held_out) = lessons.split(share).unwrap();
                let prompts = |places: Vec<usize>| -> HashSet<u32> {
                    places.iter().map(|&place| examples[place].tokens[0]).collect()
                };
                let found = (training.len() + held_out.len(), prompts(training), prompts(held_out));
                examples.reverse();
                found
            };
            let (count, training, held_out) = split();
            prop_assert_eq!(count, prompts.len());
            prop_assert!(training.is_disjoint(&held_out));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let expected = ((share * distinct.len() as f64).round() as usize)
                .clamp(1, distinct.len() - 1);
            prop_assert_eq!(held_out.len(), expected);
            prop_assert_eq!(split(), (count, training, held_out));
        }
    }
}
