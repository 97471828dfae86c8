//! The stages and their order.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A stage of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Replies to red-team prompts, criticised and revised; and replies to helpful prompts.
    CritiqueRevision,
    /// Fine-tuning on them: SL-CAI.
    Sft,
    /// New requests written by the model.
    RedTeam,
    /// Pairs of replies and their labels.
    AiFeedback,
    /// The preference model.
    PreferenceModel,
    /// Reinforcement learning: RL-CAI.
    Ppo,
    /// The three models on held-out prompts.
    Evals,
    /// The page.
    Report,
}

impl Stage {
    /// Every stage, in the order in which the loop runs them.
    pub const ALL: [Self; 8] = [
        Self::CritiqueRevision,
        Self::Sft,
        Self::RedTeam,
        Self::AiFeedback,
        Self::PreferenceModel,
        Self::Ppo,
        Self::Evals,
        Self::Report,
    ];

    /// Its folder in the run folder, and its name in settings and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::CritiqueRevision => "critique_revision",
            Self::Sft => "sft",
            Self::RedTeam => "red_team",
            Self::AiFeedback => "ai_feedback",
            Self::PreferenceModel => "preference_model",
            Self::Ppo => "ppo",
            Self::Evals => "evals",
            Self::Report => "report",
        }
    }

    /// Its subcommand.
    pub fn command(self) -> String {
        self.name().replace('_', "-")
    }

    /// The stages whose files it reads.
    pub fn needs(self) -> &'static [Self] {
        match self {
            Self::CritiqueRevision | Self::RedTeam => &[],
            Self::Sft => &[Self::CritiqueRevision],
            Self::AiFeedback => &[Self::Sft, Self::RedTeam],
            Self::PreferenceModel => &[Self::Sft, Self::AiFeedback],
            Self::Ppo => &[Self::Sft, Self::RedTeam, Self::PreferenceModel],
            Self::Evals => &[Self::Sft, Self::AiFeedback, Self::PreferenceModel, Self::Ppo],
            Self::Report => &[Self::Evals],
        }
    }

    /// All stages whose files it needs, directly or not, and itself, in the order in which they run.
    pub fn requirements(self) -> Vec<Self> {
        let mut stages = vec![self];
        for earlier in Self::ALL.into_iter().rev() {
            if stages.iter().any(|stage| stage.needs().contains(&earlier)) {
                stages.insert(0, earlier);
            }
        }
        stages
    }

    /// The stage itself and all that make something of its files, directly or not.
    pub fn dependents(self) -> Vec<Self> {
        let mut stages = vec![self];
        for later in Self::ALL {
            if later.needs().iter().any(|needed| stages.contains(needed)) {
                stages.push(later);
            }
        }
        stages
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_requires_what_leads_to_it_in_order() {
        assert_eq!(Stage::CritiqueRevision.requirements(), [Stage::CritiqueRevision]);
        assert_eq!(Stage::Sft.requirements(), [Stage::CritiqueRevision, Stage::Sft]);
        assert_eq!(Stage::Evals.requirements(), Stage::ALL[..7]);
        for stage in Stage::ALL {
            let required = |other: &Stage| stage.requirements().contains(other);
            assert!(
                Stage::ALL
                    .iter()
                    .all(|other| required(other) == other.dependents().contains(&stage))
            );
        }
    }

    #[test]
    fn every_stage_comes_after_those_it_needs() {
        for (index, stage) in Stage::ALL.iter().enumerate() {
            for needed in stage.needs() {
                assert!(Stage::ALL[..index].contains(needed), "{stage} needs {needed}");
            }
        }
    }
}
