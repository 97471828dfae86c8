//! Dialogues that are longer than the context.

use crate::{Error, Example};
use dialogue::{Dialogue, Role};
use transformer::Codec;

/// The longest end of a dialogue that fits `context` tokens, with what the model sees of the dialogue; nothing if even
/// the shortest end does not fit.
///
/// What is left out is a number of whole exchanges, the oldest ones: an end begins with a turn of the user, since many
/// chat templates refuse dialogues that begin otherwise. System messages in front stay. The last reply is in every end
/// and is never cut.
pub(crate) fn shortened(
    codec: &Codec,
    dialogue: &Dialogue,
    context: usize,
) -> Result<Option<(Example, Dialogue)>, Error> {
    let ends = ends(dialogue);
    let mut best = None;
    // A longer end has more tokens, so the first that fits is found by halving.
    let mut left = ends.as_slice();
    while !left.is_empty() {
        let (before, after) = left.split_at(left.len() / 2);
        let Some((end, later)) = after.split_first() else { break };
        let example = Example::from_dialogue(codec, end)?;
        if example.tokens.len() <= context {
            best = Some((example, end.clone()));
            left = before;
        } else {
            left = later;
        }
    }
    Ok(best)
}

/// The ends of a dialogue with a reply, shorter than the whole, from the longest to the shortest.
fn ends(dialogue: &Dialogue) -> Vec<Dialogue> {
    let messages = &dialogue.messages;
    let system = messages.iter().take_while(|message| message.role == Role::System).count();
    let (system, turns) = messages.split_at(system);
    let last_reply = turns.iter().rposition(|message| message.role == Role::Assistant);
    let starts = (1..last_reply.unwrap_or(0)).filter(|&start| turns[start].role == Role::User);
    starts.map(|start| Dialogue::new([system, &turns[start..]].concat())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::codec;

    /// `<unk> <end>` and exchanges of `<user> a <end> <assistant> b <end>`, 2 and 6 tokens each.
    fn dialogue(exchanges: usize) -> Dialogue {
        let system = Dialogue::default().with(Role::System, "c");
        (0..exchanges).fold(system, |dialogue, _| dialogue.with_user("a").with_assistant("b"))
    }

    #[test]
    fn leaves_out_no_more_than_it_must() {
        let long = dialogue(5);
        for (context, kept) in [(31, 4), (26, 4), (25, 3), (14, 2), (13, 1), (8, 1)] {
            let (example, end) = shortened(&codec(), &long, context).unwrap().unwrap();
            assert_eq!(end, dialogue(kept), "{context}");
            assert_eq!(example, Example::from_dialogue(&codec(), &end).unwrap());
            assert_eq!(example.tokens.len(), 2 + 6 * kept);
        }
        assert!(shortened(&codec(), &long, 7).unwrap().is_none());
    }

    #[test]
    fn ends_begin_with_the_user_and_hold_a_reply() {
        let dialogue = Dialogue::default()
            .with_assistant("a")
            .with_user("b")
            .with_user("c")
            .with_assistant("a")
            .with_user("b");
        let starts: Vec<usize> = ends(&dialogue).iter().map(|end| 5 - end.messages.len()).collect();
        assert_eq!(starts, [1, 2]);
        assert!(ends(&Dialogue::from_user("a").with_assistant("b")).is_empty());
        assert!(ends(&Dialogue::from_user("a")).is_empty());
    }
}
