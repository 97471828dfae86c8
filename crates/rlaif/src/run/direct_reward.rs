//! The judge's own scores in the place of a preference model.

use super::helpfulness::helpfulness_constitution;
use super::{Error, Settings, Stage};
use ai_feedback::{DirectReward, DirectRewardConfig};
use constitution::{Constitution, Drawing};
use dialogue::Dialogue;
use language_model::{Choose, Error as ModelError, Reward};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// What scores replies in reinforcement learning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewardSource {
    /// The preference model.
    #[default]
    PreferenceModel,
    /// The model of one half of the preferences, watched by that of the other: the robustness experiment of arXiv
    /// 2204.05862, section 4.2. Needs `preference_model.robustness`.
    Half,
    /// The judge, see [`DirectReward`].
    Direct,
}

impl Settings {
    /// The stages whose files a stage reads. With a direct reward none needs the preference model.
    pub fn needs(&self, stage: Stage) -> impl Iterator<Item = Stage> {
        stage.needs().iter().copied().filter(move |&needed| self.has(needed))
    }

    /// The stages of the loop, in order. With a direct reward the preference model is none of them; it can still be made.
    pub fn stages(&self) -> impl Iterator<Item = Stage> {
        Stage::ALL.into_iter().filter(move |&stage| self.has(stage))
    }

    /// Sees that a served judge can tell the scores apart.
    pub(super) fn validate_direct_judge(&self) -> Result<(), Error> {
        let asked_in_words = self.judge_server.as_ref().is_some_and(|server| !server.continues());
        if self.reward != RewardSource::Direct
            || !asked_in_words
            || self.direct_reward.tells_by_first_token()
        {
            return Ok(());
        }
        Err(Error::Setting {
            setting: "direct_reward.highest",
            found: format!(
                "{}, but of a judge that is asked in words only the first token is seen, and ten may be two",
                self.direct_reward.highest
            ),
            expected: "`direct_reward.highest = 9`, or another `judge_server.continuation` that the server knows",
        })
    }

    fn has(&self, stage: Stage) -> bool {
        stage != Stage::PreferenceModel || self.reward != RewardSource::Direct
    }
}

/// Scores replies to helpful prompts by their helpfulness and all others by the constitution, the two that a preference
/// model would have learned from labels.
pub(super) struct JudgeReward<'a> {
    by_constitution: DirectReward<'a>,
    by_helpfulness: DirectReward<'a>,
    /// The ids of the helpful prompts.
    helpful: HashSet<String>,
}

/// The principles that replies are scored by.
pub(super) struct Principles<'a> {
    constitution: &'a Constitution,
    helpfulness: Constitution,
}

impl<'a> Principles<'a> {
    pub(super) fn new(constitution: &'a Constitution) -> Self {
        Self { constitution, helpfulness: helpfulness_constitution() }
    }
}

impl<'a> JudgeReward<'a> {
    pub(super) fn new(
        judge: &'a dyn Choose,
        principles: &'a Principles<'_>,
        config: &DirectRewardConfig,
        helpful: &[Dialogue],
        seed: u64,
    ) -> Result<Self, Error> {
        let one = DirectRewardConfig {
            principles: Drawing::default(),
            principles_per_reply: 1,
            ..config.clone()
        };
        Ok(Self {
            by_constitution: DirectReward::new(judge, principles.constitution, config, seed)?,
            by_helpfulness: DirectReward::new(judge, &principles.helpfulness, &one, seed)?,
            helpful: helpful.iter().map(Dialogue::id).collect(),
        })
    }
}

impl Reward for JudgeReward<'_> {
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
        let is_helpful = |dialogue: &Dialogue| self.helpful.contains(&dialogue.prompt().id());
        let part = |helpful: bool| -> Vec<Dialogue> {
            dialogues.iter().filter(|dialogue| is_helpful(dialogue) == helpful).cloned().collect()
        };
        let mut by_helpfulness = self.by_helpfulness.reward(&part(true))?.into_iter();
        let mut by_constitution = self.by_constitution.reward(&part(false))?.into_iter();
        let next = |dialogue: &Dialogue| {
            if is_helpful(dialogue) { by_helpfulness.next() } else { by_constitution.next() }
        };
        Ok(dialogues.iter().filter_map(next).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives 10 for helpfulness, and by the constitution 1 to whatever is said loudly and 10 to the rest.
    struct Quiet;

    impl Choose for Quiet {
        fn choose(
            &self,
            prompts: &[Dialogue],
            options: &[&str],
        ) -> Result<Vec<Vec<f64>>, ModelError> {
            let score = |prompt: &Dialogue| {
                let text = &prompt.messages[0].content;
                let worst = text.contains('!') && !text.contains("of real use");
                let mut row = vec![0.0; options.len()];
                row[if worst { 0 } else { options.len() - 1 }] = 1.0;
                row
            };
            Ok(prompts.iter().map(score).collect())
        }
    }

    #[test]
    fn every_reply_is_scored_by_what_its_prompt_asks_for() {
        let constitution = Constitution::general();
        let principles = Principles::new(&constitution);
        let [helpful, harmful] = ["help", "harm"].map(Dialogue::from_user);
        let config = DirectRewardConfig { principles_per_reply: 3, ..Default::default() };
        let reward =
            JudgeReward::new(&Quiet, &principles, &config, std::slice::from_ref(&helpful), 1)
                .unwrap();
        let asked = [
            harmful.clone().with_assistant("No!"),
            helpful.clone().with_assistant("Yes!"),
            harmful.with_assistant("No."),
            helpful.with_assistant("Yes."),
        ];
        assert_eq!(reward.reward(&asked).unwrap(), [-1.0, 1.0, 1.0, 1.0]);
        assert!(reward.reward(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_judge_that_cannot_tell_a_ten_is_refused_before_the_first_stage() {
        let resolve = |text: &str| {
            let served = "judge = 'http://h/v1'\njudge_model = 'm'\n";
            let layer = format!("{served}{text}").parse().unwrap();
            Settings::resolve(&[("my.toml".to_owned(), layer)]).map(drop)
        };
        let direct = "reward = 'direct'\n";
        let asked = "judge_server.continuation = 'ask'\n";
        let message = resolve(&format!("{direct}{asked}")).unwrap_err().to_string();
        for named in ["direct_reward.highest", "is 10", "`direct_reward.highest = 9`"] {
            assert!(message.contains(named), "{message}");
        }
        resolve(direct).unwrap();
        resolve(asked).unwrap();
        resolve(&format!("{direct}{asked}direct_reward.highest = 9")).unwrap();
        resolve(&format!("{direct}{asked}judge_server.api = 'completions'")).unwrap();
    }

    #[test]
    fn a_direct_reward_needs_no_preference_model() {
        let mut settings = Settings::embedded();
        assert_eq!(settings.stages().count(), Stage::ALL.len());
        assert!(settings.needs(Stage::Ppo).any(|needed| needed == Stage::PreferenceModel));
        settings.reward = RewardSource::Direct;
        assert!(settings.stages().all(|stage| stage != Stage::PreferenceModel));
        for stage in settings.stages() {
            assert!(
                settings.needs(stage).all(|needed| needed != Stage::PreferenceModel),
                "{stage}"
            );
        }
        assert_eq!(settings.needs(Stage::PreferenceModel).count(), 2);
    }
}
