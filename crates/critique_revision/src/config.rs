//! The settings of the loop.

use crate::Error;
use constitution::Drawing;
use dialogue::{Dialogue, Role};
use language_model::Sampling;
use serde::{Deserialize, Serialize};

/// How replies are criticised and revised.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `revisions` | 4 | steps of critique and revision for every prompt; 0 draws replies alone |
/// | `reply` | [`Sampling::default`] | how first replies are drawn |
/// | `critique` | [`Sampling::default`] | how critiques are drawn |
/// | `revision` | [`Sampling::default`] | how revisions are drawn |
/// | `principles` | [`Drawing::default`] | how the principles of a prompt's steps are drawn |
/// | `few_shots` | none | worked examples, in the form of [`crate::revision_prompt`] with the revision behind it |
///
/// The paper revises 4 times, samples at temperature 1 and puts a few fixed examples in front (section 3.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CritiqueRevisionConfig {
    /// Steps of critique and revision for every prompt.
    pub revisions: usize,
    /// How first replies are drawn.
    pub reply: Sampling,
    /// How critiques are drawn.
    pub critique: Sampling,
    /// How revisions are drawn.
    pub revision: Sampling,
    /// How the principles of a prompt's steps are drawn.
    pub principles: Drawing,
    /// Worked examples that stand in front of every critique and revision, but not of the first reply.
    pub few_shots: Vec<Dialogue>,
}

impl Default for CritiqueRevisionConfig {
    fn default() -> Self {
        Self {
            revisions: 4,
            reply: Sampling::default(),
            critique: Sampling::default(),
            revision: Sampling::default(),
            principles: Drawing::default(),
            few_shots: Vec::new(),
        }
    }
}

impl CritiqueRevisionConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Sampling`] or [`Error::FewShot`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let samplings =
            [("reply", &self.reply), ("critique", &self.critique), ("revision", &self.revision)];
        for (setting, sampling) in samplings {
            sampling.validate().map_err(|reason| Error::Sampling { setting, reason })?;
        }
        match self.few_shots.iter().position(|shot| !is_exchange(shot)) {
            Some(index) => Err(Error::FewShot { index }),
            None => Ok(()),
        }
    }
}

/// True if turns can stand before and behind the dialogue.
fn is_exchange(dialogue: &Dialogue) -> bool {
    let roles: Vec<Role> = dialogue.messages.iter().map(|message| message.role).collect();
    roles.first() == Some(&Role::User)
        && roles.last() == Some(&Role::Assistant)
        && !roles.contains(&Role::System)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_out_of_range() {
        let cold = Sampling::default().with_temperature(-1.0);
        let config = CritiqueRevisionConfig { critique: cold, ..Default::default() };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("`critique`") && message.contains("temperature"), "{message}");

        let good = Dialogue::from_user("q").with_assistant("a");
        for bad in [Dialogue::from_user("q"), Dialogue::default(), good.clone().with_user("r")] {
            let few_shots = vec![good.clone(), bad];
            let config = CritiqueRevisionConfig { few_shots, ..Default::default() };
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains("few_shots[1]"), "{message}");
        }
    }

    #[test]
    fn reads_settings_and_refuses_unknown_ones() {
        let text = r#"{"revisions":1,"revision":{"max_tokens":9}}"#;
        let config: CritiqueRevisionConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.revisions, config.revision.max_tokens), (1, 9));
        assert_eq!(config.reply, Sampling::default());
        assert!(serde_json::from_str::<CritiqueRevisionConfig>(r#"{"steps":1}"#).is_err());
    }
}
