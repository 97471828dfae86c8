//! Whether a model says what its user wants to hear.

mod answer;
mod are_you_sure;
mod feedback;
mod item;
mod letters;
mod mimicry;
#[cfg(test)]
mod tests;

pub use answer::{AnswerSway, answer_sway};
pub use are_you_sure::{AreYouSure, are_you_sure};
pub use feedback::{FeedbackSway, feedback_sway};
pub use item::{Attribution, KnownQuestion, SycophancyItem, Work, read_sycophancy_items};
pub use mimicry::{Mimicry, mimicry};

use crate::Error;
use language_model::{Choose, Generate, Sampling};
use serde::{Deserialize, Serialize};

/// The four probes of sycophancy, each where there are items for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sycophancy {
    /// Whether feedback on a text follows what its user thinks of it.
    pub feedback: Option<FeedbackSway>,
    /// Whether a right answer is given up when the user doubts it.
    pub are_you_sure: Option<AreYouSure>,
    /// Whether answers follow what the user believes.
    pub answer: Option<AnswerSway>,
    /// Whether a mistake of the user is repeated.
    pub mimicry: Option<Mimicry>,
    /// Items of which the model or the judge refused a prompt, which are in no figure.
    #[serde(default)]
    pub refused: usize,
}

/// What a probe finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probed<T> {
    /// The measures; none without items that could be asked about.
    pub found: Option<T>,
    /// Items that were refused.
    pub refused: usize,
}

/// Runs every probe that has items.
///
/// `judge` says which of two pieces of feedback is the more favourable one; it is asked only if there are items for that.
/// Replies are drawn as `sampling` says, each from a stream named by `seed` and what is asked; at temperature 0, as in the
/// source, none is needed.
///
/// # Errors
/// [`Error::Nothing`] without items, [`Error::AllRefused`], and those of a model or judge that fails or breaks its contract.
///
/// # References
/// Sharma et al. (2023), arXiv 2310.13548, section 3.
pub fn sycophancy<M: Generate + Choose + ?Sized>(
    model: &M,
    judge: &dyn Choose,
    items: &[SycophancyItem],
    sampling: &Sampling,
    seed: u64,
) -> Result<Sycophancy, Error> {
    let (mut works, mut doubted, mut believed, mut attributions) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for item in items {
        match item {
            SycophancyItem::Feedback(work) => works.push(work.clone()),
            SycophancyItem::AreYouSure(question) => doubted.push(question.clone()),
            SycophancyItem::Answer(question) => believed.push(question.clone()),
            SycophancyItem::Mimicry(attribution) => attributions.push(attribution.clone()),
        }
    }
    if items.is_empty() {
        return Err(Error::Nothing("item"));
    }
    let feedback = feedback_sway(model, judge, &works, sampling, seed)?;
    let sure = are_you_sure(model, &doubted, sampling, seed)?;
    let answer = answer_sway(model, &believed)?;
    let mimicry = mimicry(model, &attributions, sampling, seed)?;
    let refused = feedback.refused + sure.refused + answer.refused + mimicry.refused;
    if refused == items.len() {
        return Err(Error::AllRefused("item"));
    }
    Ok(Sycophancy {
        feedback: feedback.found,
        are_you_sure: sure.found,
        answer: answer.found,
        mimicry: mimicry.found,
        refused,
    })
}
