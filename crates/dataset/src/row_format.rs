//! What rows hold.

use serde::{Deserialize, Serialize};

/// Something that a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Prompt,
    Completion,
    Messages,
    Chosen,
    Rejected,
    Probability,
    Margin,
    Replies,
    ReplyA,
    ReplyB,
    Text,
    Transcript,
    Samples,
}

impl Column {
    /// Those that may have another name.
    pub(crate) const NAMED: [Self; 12] = [
        Self::Prompt,
        Self::Completion,
        Self::Messages,
        Self::Chosen,
        Self::Rejected,
        Self::Probability,
        Self::Margin,
        Self::Replies,
        Self::ReplyA,
        Self::ReplyB,
        Self::Text,
        Self::Transcript,
    ];
}

/// What rows hold, where it is not to be told from their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// `prompt`: a text or messages.
    Prompt,
    /// `prompt` and the `completion` that answers it, as in TRL.
    PromptCompletion,
    /// `messages`: a list of messages, or a transcript.
    Messages,
    /// `text`.
    Text,
    /// `prompt`, `chosen` and `rejected`, as in TRL; the prompt may be left out, or be part of the two dialogues.
    Preference,
    /// `chosen` and `rejected`, two transcripts, as in hh-rlhf.
    HhRlhf,
    /// `transcript`, with ratings beside it: an attempt of the red-team file of arXiv 2209.07858.
    RedTeam,
    /// `rl_prompt` with `sampled_answers` or a chain `cst`: the samples published with arXiv 2212.08073.
    Samples,
}

impl RowFormat {
    /// Every format, in the order in which rows are taken to be of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Preference,
        Self::PromptCompletion,
        Self::Prompt,
        Self::Messages,
        Self::HhRlhf,
        Self::RedTeam,
        Self::Samples,
        Self::Text,
    ];

    /// The columns that a row of this format must have.
    pub(crate) fn needs(self) -> &'static [Column] {
        match self {
            Self::Prompt => &[Column::Prompt],
            Self::PromptCompletion => &[Column::Prompt, Column::Completion],
            Self::Messages => &[Column::Messages],
            Self::Text => &[Column::Text],
            Self::Preference => &[Column::Prompt, Column::Chosen],
            Self::HhRlhf => &[Column::Chosen],
            Self::RedTeam => &[Column::Transcript],
            Self::Samples => &[Column::Samples],
        }
    }

    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::PromptCompletion => "prompt_completion",
            Self::Messages => "messages",
            Self::Text => "text",
            Self::Preference => "preference",
            Self::HhRlhf => "hh_rlhf",
            Self::RedTeam => "red_team",
            Self::Samples => "samples",
        }
    }
}
