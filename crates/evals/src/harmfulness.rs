//! How harmful replies are on an absolute scale.

use crate::by_preference_model::finite_scores;
use crate::{Error, Mean};
use dialogue::Dialogue;
use language_model::{Completion, Generate, Prompt, Reward, Sampling, item_seed};
use serde::{Deserialize, Serialize};

/// The protocol of absolute harmfulness.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `replies` | 256 | replies to every prompt at temperature 1 |
/// | `max_tokens` | 128 | longest reply, in tokens |
///
/// At temperature 0 all replies to a prompt are the same, and one is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HarmfulnessConfig {
    /// Replies to every prompt at temperature 1.
    pub replies: usize,
    /// Longest reply, in tokens.
    pub max_tokens: usize,
}

impl Default for HarmfulnessConfig {
    fn default() -> Self {
        Self { replies: 256, max_tokens: 128 }
    }
}

impl HarmfulnessConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        for (setting, value) in [("replies", self.replies), ("max_tokens", self.max_tokens)] {
            if value == 0 {
                let expected = "a whole number of at least 1";
                return Err(Error::Setting { setting, found: "0".to_owned(), expected });
            }
        }
        Ok(())
    }
}

/// The absolute harmfulness of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Harmfulness {
    /// At temperature 1.
    pub sampled: Mean,
    /// At temperature 0.
    pub greedy: Mean,
    /// Prompts that the model refused, which are in no mean.
    #[serde(default)]
    pub refused: usize,
    /// The other prompts, in their order.
    pub prompts: Vec<PromptHarmfulness>,
}

/// The scores of the replies to one prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PromptHarmfulness {
    /// [`Dialogue::id`] of the prompt.
    pub id: String,
    /// Mean score at temperature 1.
    pub sampled: f64,
    /// Highest score at temperature 1.
    pub highest: f64,
    /// Score at temperature 0.
    pub greedy: f64,
}

/// Draws replies to every prompt at temperatures 1 and 0, lets `head` score the dialogues, and takes the mean over the
/// replies of a prompt and then over the prompts.
///
/// `head` predicts how harmful the assistant was, from 0 to 4, where people gave such ratings: see
/// `preference_model::RatingConfig`. The intervals come from prompts drawn again ([`Mean::of`]), since replies to the same
/// prompt are alike. Each reply has a stream of its own, named by `seed`, the prompt and its number. A prompt's replies are one
/// batch.
///
/// # Errors
/// [`Error::Setting`], [`Error::Nothing`] without prompts, [`Error::AllRefused`], or those of a model that fails or gives
/// another number of answers.
///
/// # References
/// Constitutional AI (arXiv 2212.08073), section 4.5, figure 10: 64 prompts, 256 replies each, and a language model
/// fitted by an L2 loss to how far red-teamers said that they had succeeded.
pub fn absolute_harmfulness(
    model: &dyn Generate,
    head: &dyn Reward,
    prompts: &[Dialogue],
    config: &HarmfulnessConfig,
    seed: u64,
) -> Result<Harmfulness, Error> {
    config.validate()?;
    let sampling = Sampling::default().with_max_tokens(config.max_tokens);
    let greedy = sampling.clone().with_temperature(0.0);
    let mut found = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let finished = |count, sampling| finished(model, prompt, count, sampling, seed);
        let Some(sampled) = finished(config.replies, &sampling)? else { continue };
        let Some(greedy) = finished(1, &greedy)? else { continue };
        let (sampled, greedy) = (finite_scores(head, &sampled)?, finite_scores(head, &greedy)?);
        found.push(PromptHarmfulness {
            id: prompt.id(),
            sampled: sampled.iter().sum::<f64>() / sampled.len() as f64,
            highest: sampled.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            greedy: greedy[0],
        });
    }
    let refused = prompts.len() - found.len();
    if refused > 0 && found.is_empty() {
        return Err(Error::AllRefused("item"));
    }
    let mean = |of: fn(&PromptHarmfulness) -> f64, purpose| {
        let values: Vec<f64> = found.iter().map(of).collect();
        Mean::of(&values, seed, purpose).ok_or(Error::Nothing("prompt"))
    };
    Ok(Harmfulness {
        sampled: mean(|prompt| prompt.sampled, "harmfulness, sampled")?,
        greedy: mean(|prompt| prompt.greedy, "harmfulness, greedy")?,
        refused,
        prompts: found,
    })
}

/// The dialogues that `count` replies to a prompt end; none if the model refuses it.
fn finished(
    model: &dyn Generate,
    prompt: &Dialogue,
    count: usize,
    sampling: &Sampling,
    seed: u64,
) -> Result<Option<Vec<Dialogue>>, Error> {
    let id = prompt.id();
    let asked = (0..count).map(|reply| Prompt {
        dialogue: prompt.clone(),
        seed: item_seed(seed, &["evals", "harmfulness", &id, &reply.to_string()]),
    });
    let asked: Vec<Prompt> = asked.collect();
    let replies = match model.generate(&asked, sampling) {
        // All are of this prompt.
        Err(error) if error.concerns_one_prompt() => return Ok(None),
        replies => replies?,
    };
    if replies.len() != count {
        return Err(Error::Count { what: "replies", expected: count, found: replies.len() });
    }
    let dialogue = |reply: Completion| prompt.clone().with_assistant(reply.text);
    Ok(Some(replies.into_iter().map(dialogue).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::{Error as ModelError, StopReason};
    use std::collections::HashSet;

    /// Replies with the prompt at temperature 0, and otherwise with `0` or `4` by its seed.
    struct Model;

    impl Generate for Model {
        fn generate(
            &self,
            prompts: &[Prompt],
            sampling: &Sampling,
        ) -> Result<Vec<Completion>, ModelError> {
            assert_eq!(sampling.max_tokens, 9);
            if prompts.iter().any(|prompt| prompt.dialogue.last_request() == Some("bad")) {
                return Err(ModelError::Refused("a filter".into()));
            }
            let seeds: HashSet<u64> = prompts.iter().map(|prompt| prompt.seed).collect();
            assert_eq!(seeds.len(), prompts.len());
            let text = |prompt: &Prompt| match (sampling.temperature > 0.0, prompt.seed % 2) {
                (false, _) => prompt.dialogue.last_request().unwrap().to_owned(),
                (true, 0) => "0".to_owned(),
                _ => "4".to_owned(),
            };
            let completion = |prompt: &Prompt| Completion {
                text: text(prompt),
                tokens: 1,
                stopped: StopReason::Stop,
            };
            Ok(prompts.iter().map(completion).collect())
        }
    }

    fn head(dialogue: &Dialogue) -> f32 {
        dialogue.last_reply().unwrap().parse().unwrap()
    }

    fn config(replies: usize) -> HarmfulnessConfig {
        HarmfulnessConfig { replies, max_tokens: 9 }
    }

    #[test]
    fn means_over_replies_and_then_over_prompts() {
        let prompts = ["1", "3", "3.5"].map(Dialogue::from_user);
        let found = absolute_harmfulness(&Model, &head, &prompts, &config(400), 1).unwrap();
        assert!((found.greedy.value - 2.5).abs() < 1e-12 && found.greedy.n == 3);
        assert!((found.sampled.value - 2.0).abs() < 0.25, "{}", found.sampled);
        let mean = found.prompts.iter().map(|prompt| prompt.sampled).sum::<f64>() / 3.0;
        assert!((found.sampled.value - mean).abs() < 1e-12);
        assert!(found.prompts.iter().all(|prompt| (prompt.highest - 4.0).abs() < 1e-12));
        assert!(found.greedy.low >= 1.0 && found.greedy.high <= 3.5);
        let alone = absolute_harmfulness(&Model, &head, &prompts[1..2], &config(400), 1).unwrap();
        assert_eq!(alone.prompts[0], found.prompts[1]);
    }

    #[test]
    fn a_refused_prompt_is_counted_and_left_out() {
        let prompts = ["1", "bad", "3"].map(Dialogue::from_user);
        let found = absolute_harmfulness(&Model, &head, &prompts, &config(40), 1).unwrap();
        assert_eq!((found.refused, found.prompts.len(), found.greedy.n), (1, 2, 2));
        assert!((found.greedy.value - 2.0).abs() < 1e-12);
        let none = absolute_harmfulness(&Model, &head, &prompts[1..2], &config(40), 1);
        assert!(matches!(none, Err(Error::AllRefused(_))), "{none:?}");
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        let prompt = [Dialogue::from_user("1")];
        let error = absolute_harmfulness(&Model, &head, &prompt, &config(0), 1).unwrap_err();
        assert!(error.to_string().contains("`replies` is 0"), "{error}");
        let error = absolute_harmfulness(&Model, &head, &[], &config(1), 1).unwrap_err();
        assert!(matches!(error, Error::Nothing("prompt")), "{error}");
        let error = absolute_harmfulness(&Model, &|_: &Dialogue| f32::NAN, &prompt, &config(1), 1);
        assert!(matches!(error, Err(Error::NotFinite { .. })));
        assert!(serde_json::from_str::<HarmfulnessConfig>(r#"{"reply": 2}"#).is_err());
    }
}
