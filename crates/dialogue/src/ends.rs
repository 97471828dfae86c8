//! What is left of a dialogue without its oldest turns.

use crate::{Dialogue, Role};

impl Dialogue {
    /// The ends of the dialogue, shorter than the whole, from the longest to the shortest.
    ///
    /// An end lacks a number of whole exchanges, the oldest ones: it begins with a turn of the user, since many chat
    /// templates refuse dialogues that begin otherwise. System messages in front stay.
    ///
    /// ```
    /// use dialogue::Dialogue;
    ///
    /// let dialogue = Dialogue::from_user("a").with_assistant("b").with_user("c").with_assistant("d");
    /// assert_eq!(dialogue.ends(), [Dialogue::from_user("c").with_assistant("d")]);
    /// ```
    pub fn ends(&self) -> Vec<Self> {
        let system =
            self.messages.iter().take_while(|message| message.role == Role::System).count();
        let (system, turns) = self.messages.split_at(system);
        let starts = (1..turns.len()).filter(|&start| turns[start].role == Role::User);
        starts.map(|start| Self::new([system, &turns[start..]].concat())).collect()
    }
}

/// What `fits` makes of the first of `ends` that it takes, by halving: whoever takes an end takes all shorter ones.
///
/// # Errors
/// The first that `fits` gives.
pub fn longest_fitting<T, E>(
    mut ends: &[Dialogue],
    mut fits: impl FnMut(&Dialogue) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let mut best = None;
    while let (longer, [middle, shorter @ ..]) = ends.split_at(ends.len() / 2) {
        match fits(middle)? {
            Some(found) => {
                best = Some(found);
                ends = longer;
            }
            None => ends = shorter,
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_begin_with_the_user() {
        let dialogue = Dialogue::default()
            .with(Role::System, "s")
            .with_assistant("a")
            .with_user("b")
            .with_user("c")
            .with_assistant("a")
            .with_user("b");
        let ends = dialogue.ends();
        let turns: Vec<usize> = ends.iter().map(|end| end.messages.len() - 1).collect();
        assert_eq!(turns, [4, 3, 1]);
        assert!(ends.iter().all(|end| end.messages[0].role == Role::System));
        assert!(
            Dialogue::from_user("a").ends().is_empty() && Dialogue::default().ends().is_empty()
        );
    }

    #[test]
    fn the_longest_that_fits_is_found() {
        let ends: Vec<Dialogue> =
            (1..=9).rev().map(|turns| Dialogue::from_user("x".repeat(turns))).collect();
        for room in 0..11 {
            let length = |end: &Dialogue| end.last_request().map_or(0, str::len);
            let fits = |end: &Dialogue| Ok::<_, ()>((length(end) <= room).then(|| length(end)));
            let expected = (room > 0).then_some(room.min(9));
            assert_eq!(longest_fitting(&ends, fits), Ok(expected));
        }
        assert_eq!(longest_fitting(&ends, |_| Err::<Option<()>, _>("no")), Err("no"));
    }
}
