//! Preferences whose dialogues are longer than the context.

use crate::Error;
use dialogue::{Preference, longest_fitting};
use transformer::Codec;

/// The preference with the longest end of its prompt at which both dialogues fit `context` tokens; nothing if even the
/// shortest is too long. The replies are never cut.
pub(crate) fn shortened(
    codec: &Codec,
    preference: &Preference,
    context: usize,
) -> Result<Option<Preference>, Error> {
    longest_fitting(&preference.prompt.ends(), |end| {
        let shorter = Preference { prompt: end.clone(), ..preference.clone() };
        Ok((longest(codec, &shorter)? <= context).then_some(shorter))
    })
}

/// Tokens of the longer dialogue.
fn longest(codec: &Codec, preference: &Preference) -> Result<usize, Error> {
    let chosen = codec.encode_dialogue(&preference.chosen_dialogue())?.tokens.len();
    let rejected = codec.encode_dialogue(&preference.rejected_dialogue())?.tokens.len();
    Ok(chosen.max(rejected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, preference};
    use dialogue::{Dialogue, Role};

    /// `<unk> <end>` and exchanges of `<user> a <end> <assistant> b <end>`, 2 and 6 tokens each, then a question.
    fn prompt(exchanges: usize) -> Dialogue {
        let system = Dialogue::default().with(Role::System, "c");
        let exchange = |dialogue: Dialogue, _| dialogue.with_user("a").with_assistant("b");
        (0..exchanges).fold(system, exchange).with_user("q")
    }

    #[test]
    fn leaves_out_no_more_than_it_must() {
        // The longer dialogue ends in 3 tokens of the question and 4 of `<assistant> a b <end>`.
        let of = |exchanges| Preference {
            prompt: prompt(exchanges),
            ..preference("q", "a b", "c", 0.8)
        };
        for (context, kept) in [(32, 3), (27, 3), (26, 2), (15, 1), (14, 0), (9, 0)] {
            let found = shortened(&codec(), &of(4), context).unwrap().unwrap();
            assert_eq!(found, of(kept), "{context}");
            assert_eq!(longest(&codec(), &found).unwrap(), 9 + 6 * kept);
        }
        assert!(shortened(&codec(), &of(4), 8).unwrap().is_none());
        assert!(shortened(&codec(), &of(0), 100).unwrap().is_none(), "it has one turn");
    }
}
