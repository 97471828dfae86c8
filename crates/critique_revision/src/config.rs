//! The settings of the loop.

use crate::few_shots::parts;
use crate::{Error, FailurePolicies, Form};
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
/// | `form` | `"chat"` | `"chat"` or `"transcript"`, see [`Form`] |
/// | `direct` | false | revises without a critique, as in the paper's ablation |
/// | `few_shots` | none | worked examples, in the form of [`crate::revision_prompt`] with the revision behind it |
/// | `shots` | all, in order | worked examples that are drawn anew for every step, from 1 to all of them |
/// | `failures` | [`FailurePolicies::default`] | what becomes of texts that are not what they were asked to be |
/// | `keep_prompts` | true | traces hold every prompt whole; otherwise only what it is made of |
///
/// The paper revises 4 times, samples at temperature 1 and puts a few fixed examples in front (section 3.1); it compares
/// critiques with direct revisions in section 3.5.
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
    /// How critiques and revisions are asked for.
    pub form: Form,
    /// Revises without a critique.
    pub direct: bool,
    /// Worked examples that stand in front of every critique and revision, but not of the first reply.
    pub few_shots: Vec<Dialogue>,
    /// Worked examples that are drawn anew for every step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shots: Option<usize>,
    /// What becomes of texts that are not what they were asked to be.
    pub failures: FailurePolicies,
    /// Traces hold every prompt whole.
    pub keep_prompts: bool,
}

impl Default for CritiqueRevisionConfig {
    fn default() -> Self {
        Self {
            revisions: 4,
            reply: Sampling::default(),
            critique: Sampling::default(),
            revision: Sampling::default(),
            principles: Drawing::default(),
            form: Form::default(),
            direct: false,
            few_shots: Vec::new(),
            shots: None,
            failures: FailurePolicies::default(),
            keep_prompts: true,
        }
    }
}

impl CritiqueRevisionConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Sampling`], [`Error::FewShot`], [`Error::FewShotTurns`], [`Error::Shots`] or [`Error::Attempts`] names the
    /// first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let samplings =
            [("reply", &self.reply), ("critique", &self.critique), ("revision", &self.revision)];
        for (setting, sampling) in samplings {
            sampling.validate().map_err(|reason| Error::Sampling { setting, reason })?;
        }
        if let Some(index) = self.few_shots.iter().position(|shot| !is_exchange(shot)) {
            return Err(Error::FewShot { index });
        }
        let incomplete = |shot: &Dialogue| self.rewrites_examples() && parts(shot).is_none();
        if let Some(index) = self.few_shots.iter().position(incomplete) {
            return Err(Error::FewShotTurns { index });
        }
        let found = self.few_shots.len();
        if let Some(shots) = self.shots.filter(|shots| !(1..=found).contains(shots)) {
            return Err(Error::Shots { shots, found });
        }
        self.failures.validate()
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
    use crate::Policy;

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
    fn examples_must_suit_their_form() {
        let shot = Dialogue::from_user("q").with_assistant("a");
        let with = |form, direct, shots| CritiqueRevisionConfig {
            few_shots: vec![shot.clone()],
            form,
            direct,
            shots,
            ..CritiqueRevisionConfig::default()
        };
        with(Form::Chat, false, Some(1)).validate().unwrap();
        for (form, direct) in [(Form::Chat, true), (Form::Transcript, false)] {
            let message = with(form, direct, None).validate().unwrap_err().to_string();
            assert!(message.contains("few_shots[0]") && message.contains("six turns"), "{message}");
        }
        for shots in [0, 2] {
            let message = with(Form::Chat, false, Some(shots)).validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`shots` is {shots}")), "{message}");
        }
    }

    #[test]
    fn reads_settings_and_refuses_unknown_ones() {
        let text = r#"{"revisions":1,"revision":{"max_tokens":9},"form":"transcript","direct":true,
            "failures":{"unchanged":"retry"}}"#;
        let config: CritiqueRevisionConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.revisions, config.revision.max_tokens), (1, 9));
        assert_eq!((config.form, config.direct), (Form::Transcript, true));
        assert_eq!(config.failures.unchanged, Policy::Retry);
        assert_eq!(config.reply, Sampling::default());
        assert!(serde_json::from_str::<CritiqueRevisionConfig>(r#"{"steps":1}"#).is_err());
    }
}
