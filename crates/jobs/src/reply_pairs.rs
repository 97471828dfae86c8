//! Pairs of replies to many prompts.

use crate::report::Figures;
use crate::stage::{Kind, Record, Stage, Tally};
use crate::{Error, Job, Prepared};
use ai_feedback::Judge;
use dialogue::{Comparison, Dialogue};
use language_model::{Completion, Prompt, Sampling, StopReason, item_seed};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::AddAssign;

/// Replies to a prompt that are drawn at most until two differ.
const SAMPLES: usize = 8;

/// Two different replies to a prompt: a row that [`crate::label()`] reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyPair {
    /// [`Dialogue::id`] of the prompt.
    pub id: String,
    /// The prompt and the replies.
    #[serde(flatten)]
    pub pair: Comparison,
    /// Tokens of each reply.
    pub tokens: [usize; 2],
    /// Why each reply ended.
    pub stopped: [StopReason; 2],
    /// Replies that were drawn and equal the first.
    pub equal: usize,
}

/// What stands in the report of a job of pairs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSummary {
    /// Pairs.
    pub pairs: usize,
    /// Replies that were drawn again because they equal the other one.
    pub redrawn: usize,
    /// Replies of the pairs that were cut off, by their longest length or by a filter of the server.
    pub truncated: usize,
    /// Tokens of the replies of the pairs.
    pub tokens: usize,
}

/// Prepares to draw two different replies to every prompt of a file; a record is a [`ReplyPair`].
///
/// The replies, without the space around them, are two samples, each from a stream of its own (section 4.1 of
/// arXiv 2212.08073 draws both from SL-CAI). If the second equals the first, the next stream is tried, up to eight samples; a
/// prompt without two different ones has failed.
///
/// # Errors
/// If the prompts or the settings cannot be used, or another file stands in the place of the records.
pub fn reply_pairs(job: Job, sampling: Sampling) -> Result<Prepared, Error> {
    sampling.validate()?;
    Prepared::new(job, Drawing { sampling })
}

pub(crate) struct Drawing {
    sampling: Sampling,
}

impl Stage for Drawing {
    type Item = Dialogue;
    type Record = ReplyPair;

    const NAME: &'static str = "reply-pairs";
    const KIND: Kind<Dialogue> =
        Kind { open: |reading, path| reading.prompts(path), id: Dialogue::id, is_void: |_| false };

    fn settings(&self) -> Result<Value, Error> {
        Ok(json!({ "reply": self.sampling }))
    }

    fn records(
        &self,
        model: &dyn Judge,
        prompts: &[Dialogue],
        seed: u64,
    ) -> Result<Vec<Result<ReplyPair, String>>, Error> {
        let all: Vec<usize> = (0..prompts.len()).collect();
        let firsts = self.draw(model, prompts, &all, 0, seed)?;
        let mut seconds: Vec<Option<(usize, Completion)>> = vec![None; prompts.len()];
        let mut open = all;
        for sample in 1..SAMPLES {
            let drawn = self.draw(model, prompts, &open, sample, seed)?;
            for (&item, reply) in open.iter().zip(drawn) {
                if reply.text.trim() != firsts[item].text.trim() {
                    seconds[item] = Some((sample - 1, reply));
                }
            }
            open.retain(|&item| seconds[item].is_none());
            if open.is_empty() {
                break;
            }
        }
        let drawn = prompts.iter().zip(firsts).zip(seconds);
        Ok(drawn.map(|((prompt, first), second)| pair(prompt, first, second)).collect())
    }

    fn row(prompt: &Dialogue) -> Value {
        json!({ "prompt": prompt })
    }
}

impl Drawing {
    /// One reply to each of some prompts, from the streams of a number.
    fn draw(
        &self,
        model: &dyn Judge,
        prompts: &[Dialogue],
        items: &[usize],
        sample: usize,
        seed: u64,
    ) -> Result<Vec<Completion>, Error> {
        let sample = sample.to_string();
        let asked = items.iter().map(|&item| Prompt {
            dialogue: prompts[item].clone(),
            seed: item_seed(seed, &["pairs", &prompts[item].id(), &sample]),
        });
        let replies = model.generate(&asked.collect::<Vec<_>>(), &self.sampling)?;
        if replies.len() != items.len() {
            return Err(Error::Count { expected: items.len(), found: replies.len() });
        }
        Ok(replies)
    }
}

/// The pair, or that there is none.
fn pair(
    prompt: &Dialogue,
    first: Completion,
    second: Option<(usize, Completion)>,
) -> Result<ReplyPair, String> {
    let id = prompt.id();
    let Some((equal, second)) = second else {
        return Err(format!(
            "{SAMPLES} replies to prompt {id} are all the same; draw them at a higher `temperature`"
        ));
    };
    Ok(ReplyPair {
        id,
        tokens: [first.tokens, second.tokens],
        stopped: [first.stopped, second.stopped],
        pair: Comparison {
            prompt: prompt.clone(),
            replies: [first, second].map(|reply| reply.text.trim().to_owned()),
        },
        equal,
    })
}

impl Record for ReplyPair {
    type Tally = PairSummary;

    fn id(&self) -> &str {
        &self.id
    }

    fn tally(&self, _: Option<f64>) -> PairSummary {
        let cut = self.stopped.iter().filter(|&&stopped| stopped != StopReason::Stop);
        PairSummary {
            pairs: 1,
            redrawn: self.equal,
            truncated: cut.count(),
            tokens: self.tokens.iter().sum(),
        }
    }
}

impl AddAssign for PairSummary {
    fn add_assign(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.redrawn += other.redrawn;
        self.truncated += other.truncated;
        self.tokens += other.tokens;
    }
}

impl Tally for PairSummary {
    fn figures(&self) -> Figures {
        Figures::Pairs(*self)
    }
}
