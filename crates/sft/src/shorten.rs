//! Dialogues that are longer than the context.

use crate::{Error, Example};
use dialogue::{Dialogue, Role, longest_fitting};
use transformer::Codec;

/// The longest end of a dialogue that fits `context` tokens; nothing if even the shortest end does not fit.
///
/// The last reply is in every end and is never cut.
pub(crate) fn shortened(
    codec: &Codec,
    dialogue: &Dialogue,
    context: usize,
) -> Result<Option<Example>, Error> {
    longest_fitting(&ends(dialogue), |end| {
        let example = Example::from_dialogue(codec, end)?;
        Ok((example.tokens.len() <= context).then_some(example))
    })
}

/// The ends of a dialogue that hold a reply.
fn ends(dialogue: &Dialogue) -> Vec<Dialogue> {
    let mut ends = dialogue.ends();
    ends.retain(|end| end.messages.iter().any(|message| message.role == Role::Assistant));
    ends
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
            let example = shortened(&codec(), &long, context).unwrap().unwrap();
            let expected = Example::from_dialogue(&codec(), &dialogue(kept)).unwrap();
            assert_eq!(example, expected, "{context}");
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
