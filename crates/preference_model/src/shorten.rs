//! Preferences whose dialogues are longer than the context.

use crate::Error;
use dialogue::{Dialogue, Preference, Role};
use transformer::Codec;

/// The preference with the longest end of its prompt at which both dialogues fit `context` tokens; nothing if even the
/// shortest is too long.
///
/// What is left out is a number of whole exchanges, the oldest ones: an end begins with a turn of the user, since many chat
/// templates refuse dialogues that begin otherwise. System messages in front stay. The replies are never cut.
pub(crate) fn shortened(
    codec: &Codec,
    preference: &Preference,
    context: usize,
) -> Result<Option<Preference>, Error> {
    let ends = ends(&preference.prompt);
    let mut best = None;
    // A longer end has more tokens, so the first that fits is found by halving.
    let mut left = ends.as_slice();
    while !left.is_empty() {
        let (before, after) = left.split_at(left.len() / 2);
        let Some((end, later)) = after.split_first() else { break };
        let shorter = Preference { prompt: end.clone(), ..preference.clone() };
        if longest(codec, &shorter)? <= context {
            best = Some(shorter);
            left = before;
        } else {
            left = later;
        }
    }
    Ok(best)
}

/// Tokens of the longer dialogue.
fn longest(codec: &Codec, preference: &Preference) -> Result<usize, Error> {
    let chosen = codec.encode_dialogue(&preference.chosen_dialogue())?.tokens.len();
    let rejected = codec.encode_dialogue(&preference.rejected_dialogue())?.tokens.len();
    Ok(chosen.max(rejected))
}

/// The ends of a prompt, shorter than the whole, from the longest to the shortest.
fn ends(prompt: &Dialogue) -> Vec<Dialogue> {
    let messages = &prompt.messages;
    let system = messages.iter().take_while(|message| message.role == Role::System).count();
    let (system, turns) = messages.split_at(system);
    let starts = (1..turns.len()).filter(|&start| turns[start].role == Role::User);
    starts.map(|start| Dialogue::new([system, &turns[start..]].concat())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{codec, preference};

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

    #[test]
    fn ends_begin_with_the_user() {
        let prompt = Dialogue::default()
            .with_assistant("a")
            .with_user("b")
            .with_user("c")
            .with_assistant("a")
            .with_user("b");
        let starts: Vec<usize> = ends(&prompt).iter().map(|end| 5 - end.messages.len()).collect();
        assert_eq!(starts, [1, 2, 4]);
        assert!(
            ends(&Dialogue::from_user("a")).is_empty() && ends(&Dialogue::default()).is_empty()
        );
    }
}
