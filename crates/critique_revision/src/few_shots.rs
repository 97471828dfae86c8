//! Worked examples in front of a critique or a revision.

use crate::{CritiqueRevisionConfig, Form, Sought};
use dialogue::{Dialogue, Message, Role};
use rand::Rng;
use rand::seq::index;

/// The turns that a worked example ends in.
const TURNS: [Role; 6] =
    [Role::User, Role::Assistant, Role::User, Role::Assistant, Role::User, Role::Assistant];

impl CritiqueRevisionConfig {
    /// The worked examples as they are shown: in the form that is set, and without critiques if there are none.
    ///
    /// An example that does not end in six turns stays as it is; [`CritiqueRevisionConfig::validate`] refuses it where it
    /// would have to be written anew.
    pub fn examples(&self) -> Vec<Dialogue> {
        self.few_shots.iter().map(|shot| self.rewritten(shot)).collect()
    }

    /// True if examples are shown in another form than that in which they are given.
    pub(crate) fn rewrites_examples(&self) -> bool {
        self.direct || self.form != Form::Chat
    }

    /// The examples that a step shows, by their places: some of them, drawn, or all in their order.
    pub(crate) fn shown<R: Rng + ?Sized>(&self, rng: &mut R) -> Vec<usize> {
        match self.shots {
            Some(shots) => {
                let found = self.few_shots.len();
                index::sample(rng, found, shots.min(found)).into_vec()
            }
            None => (0..self.few_shots.len()).collect(),
        }
    }

    fn rewritten(&self, shot: &Dialogue) -> Dialogue {
        let Some((prompt, [reply, asked, critique, request, revision])) = parts(shot) else {
            return shot.clone();
        };
        if !self.rewrites_examples() {
            return shot.clone();
        }
        let critique = (!self.direct).then_some([asked, critique]);
        let sought = Sought::Revision { critique, request };
        self.form.answer(self.form.ask(&[], &prompt, reply, sought), revision)
    }
}

/// The conversation of a worked example, and behind it reply, critique request, critique, revision request, revision.
pub(crate) fn parts(shot: &Dialogue) -> Option<(Dialogue, [&str; 5])> {
    let (_, last) = shot.messages.split_last_chunk::<6>()?;
    if !last.iter().map(|message| message.role).eq(TURNS) {
        return None;
    }
    let (turns, behind) = shot.messages.split_last_chunk::<5>()?;
    let texts = behind.each_ref().map(|Message { content, .. }| content.as_str());
    Some((Dialogue::new(turns.to_vec()), texts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::stream;
    use std::collections::HashSet;

    fn shot(name: &str) -> Dialogue {
        let asked = Dialogue::from_user("Hello").with_assistant("Hello.").with_user(name);
        let criticised = asked.with_assistant("No.").with_user("Rude?").with_assistant("Yes.");
        criticised.with_user("Mend it.").with_assistant("Gladly.")
    }

    fn config(form: Form, direct: bool) -> CritiqueRevisionConfig {
        let few_shots = vec![shot("Tea?"), shot("Milk?"), shot("Salt?")];
        CritiqueRevisionConfig { few_shots, form, direct, ..CritiqueRevisionConfig::default() }
    }

    #[test]
    fn examples_take_the_form_of_what_they_are_for() {
        let first = |form, direct| config(form, direct).examples()[0].to_transcript();
        let opening = "\n\nHuman: Hello\n\nAssistant: Hello.\n\nHuman: Tea?\n\nAssistant: No.";
        assert_eq!(config(Form::Chat, false).examples()[0], shot("Tea?"));
        assert_eq!(
            first(Form::Chat, true),
            format!("{opening}\n\nHuman: Mend it.\n\nAssistant: Gladly.")
        );
        let revised = "Revision Request: Mend it.\n\nRevision: Gladly.";
        assert_eq!(first(Form::Transcript, true), format!("{opening}\n\n{revised}"));
        assert_eq!(
            first(Form::Transcript, false),
            format!("{opening}\n\nCritique Request: Rude?\n\nCritique: Yes.\n\n{revised}")
        );
    }

    #[test]
    fn all_are_shown_in_order_or_some_are_drawn() {
        let fixed = config(Form::Chat, false);
        assert_eq!(fixed.shown(&mut stream(0)), [0, 1, 2]);
        let drawn = CritiqueRevisionConfig { shots: Some(2), ..fixed };
        let mut seen = HashSet::new();
        for seed in 0..60 {
            let shown = drawn.shown(&mut stream(seed));
            assert!(shown.len() == 2 && shown[0] != shown[1]);
            seen.insert(shown);
        }
        // Every pair, in both orders.
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn other_turns_are_no_worked_example() {
        assert!(parts(&Dialogue::from_user("q").with_assistant("a")).is_none());
        let mut odd = shot("Tea?");
        odd.messages[4].role = Role::Assistant;
        assert!(parts(&odd).is_none());
        assert_eq!(parts(&shot("Tea?")).unwrap().1[0], "No.");
    }
}
