//! What is kept of a conversation, and what is shown of it.

use rlaif::dialogue::{Dialogue, Role};
use std::borrow::Cow;

/// Removes the oldest exchanges, a message and its reply each, until `fits` or only the last message is left; returns
/// how many. The system message stays. If even the last message alone does not fit, nothing is removed.
pub(super) fn forget_oldest<E>(
    dialogue: &mut Dialogue,
    fits: &dyn Fn(&Dialogue) -> Result<bool, E>,
) -> Result<usize, E> {
    let mut rest = dialogue.clone();
    let system = rest.messages.iter().take_while(|message| message.role == Role::System).count();
    let mut forgotten = 0;
    while !fits(&rest)? {
        if rest.messages.len() <= system + 2 {
            return Ok(0);
        }
        rest.messages.drain(system..system + 2);
        forgotten += 1;
    }
    *dialogue = rest;
    Ok(forgotten)
}

/// The text without the control characters that move the cursor, change colours or worse; line breaks and tabs stay.
pub(super) fn without_controls(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(steers) {
        return text.replace(steers, "\u{fffd}").into();
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(dialogue: &Dialogue) -> Vec<&str> {
        dialogue.messages.iter().map(|message| message.content.as_str()).collect()
    }

    fn dialogue() -> Dialogue {
        Dialogue::default()
            .with(Role::System, "s")
            .with_user("1")
            .with_assistant("a")
            .with_user("2")
            .with_assistant("b")
            .with_user("3")
    }

    fn left(most: usize) -> (usize, Dialogue) {
        let mut dialogue = dialogue();
        let fits = |dialogue: &Dialogue| Ok::<_, ()>(dialogue.messages.len() <= most);
        let forgotten = forget_oldest(&mut dialogue, &fits).unwrap();
        (forgotten, dialogue)
    }

    #[test]
    fn the_oldest_exchanges_go_first() {
        assert_eq!(left(6), (0, dialogue()));
        assert_eq!(left(5).0, 1);
        assert_eq!(contents(&left(5).1), ["s", "2", "b", "3"]);
        assert_eq!(left(3).0, 2);
        assert_eq!(contents(&left(3).1), ["s", "3"]);
    }

    #[test]
    fn a_message_that_never_fits_costs_nothing_else() {
        assert_eq!(left(1), (0, dialogue()));
        let fails = |_: &Dialogue| Err("no template");
        assert_eq!(forget_oldest(&mut dialogue(), &fails), Err("no template"));
    }

    #[test]
    fn text_does_not_steer_the_terminal() {
        assert_eq!(
            without_controls("a\u{1b}[2J\n\tb\u{9b}\r"),
            "a\u{fffd}[2J\n\tb\u{fffd}\u{fffd}"
        );
        assert!(matches!(without_controls("é 🦀\n"), Cow::Borrowed(_)));
    }
}
