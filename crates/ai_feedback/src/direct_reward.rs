//! Scores by a judge, without a preference model.

use crate::{DirectRewardConfig, Error, scoring_question};
use constitution::{ComparisonPrinciple, Constitution};
use dialogue::Dialogue;
use language_model::{Choose, Error as ModelError, Reward, item_seed, stream};

/// A [`Reward`] by direct RLAIF (d-RLAIF, arXiv 2309.00267): the judge weighs the scores from 1 to
/// [`DirectRewardConfig::highest`], and the reward of a dialogue is the score that is expected by these weights, moved to
/// \[-1, 1\].
///
/// ```text
/// P(i)   = weight(i) / (weight(1) + ... + weight(highest))
/// score  = sum of i P(i)                                  averaged over the principles
/// reward = 2 (score - 1) / (highest - 1) - 1
/// ```
///
/// The paper asks about quality in general, here the judge scores by drawn principles. All replies to one prompt are
/// scored by the same ones, so that their scores can be compared. Principles are drawn from the stream of the prompt, and all
/// questions of a call are one call of the judge.
///
/// # 1 and 10
/// A [`Choose`] gives the probability that a text *begins* with an option. "1" begins "10", so for a model that writes ten
/// as two tokens, the probability of "1" holds that of "10", and a judge that is sure of a ten would be taken for one that
/// wavers between the two ends. With a `highest` of 10 every option is therefore closed, `1)` to `10)`, behind an answer that opens
/// a bracket: no option begins another, and each gets the probability of its number alone, whatever the tokens are. Up to 9
/// the options are the bare digits, which begin none of each other.
///
/// Of a served judge only the most likely next tokens may be seen (`scoring = ["top_logprobs"]` of the client). There a
/// number stands for its closed option, and a "1" that is likely enough to matter is looked behind, which takes a request
/// more. A server that does not continue an unfinished turn itself (`continuation = "ask"`) cannot be asked so and is for a
/// `highest` of up to 9; see [`DirectRewardConfig::tells_by_first_token`].
///
/// # Example
/// ```
/// use ai_feedback::{DirectReward, DirectRewardConfig};
/// use constitution::Constitution;
/// use dialogue::Dialogue;
/// use language_model::{Choose, Error, Reward};
///
/// /// Gives a 10 to thanks, and wavers between 1 and 10 elsewhere.
/// struct Polite;
///
/// impl Choose for Polite {
///     fn choose(&self, prompts: &[Dialogue], options: &[&str]) -> Result<Vec<Vec<f64>>, Error> {
///         assert_eq!((options[0], options[9]), ("1)", "10)"));
///         let thanks = |prompt: &Dialogue| prompt.messages[0].content.contains("Thank you");
///         let low = |prompt| if thanks(prompt) { 0.0 } else { 0.5 };
///         let weigh = |low: f64| [&[low][..], &[0.0; 8], &[1.0 - low]].concat();
///         Ok(prompts.iter().map(|prompt| weigh(low(prompt))).collect())
///     }
/// }
///
/// let constitution = Constitution::general();
/// let reward = DirectReward::new(&Polite, &constitution, &DirectRewardConfig::default(), 0)?;
/// let said = |reply| Dialogue::from_user("I am back.").with_assistant(reply);
/// assert_eq!(reward.reward(&[said("Thank you."), said("So what.")])?, [1.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DirectReward<'a> {
    judge: &'a dyn Choose,
    constitution: &'a Constitution,
    config: DirectRewardConfig,
    seed: u64,
    options: Vec<String>,
}

/// The score of a dialogue with all that led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectScore {
    /// The expected score, in \[1, `highest`\], averaged over the principles.
    pub score: f64,
    /// The same in \[-1, 1\].
    pub reward: f64,
    /// The judge's answers, one a principle.
    pub answers: Vec<ScoreAnswer>,
}

/// The judge's answer to one question for a score.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreAnswer {
    /// The id of the principle.
    pub principle: String,
    /// The question as the judge read it.
    pub question: Dialogue,
    /// The probability of every score from 1 on; they add up to 1.
    pub probabilities: Vec<f64>,
}

impl<'a> DirectReward<'a> {
    /// Lets `judge` score by the principles of `constitution`.
    ///
    /// # Errors
    /// If a setting is out of range, or the constitution has no principle to draw.
    pub fn new(
        judge: &'a dyn Choose,
        constitution: &'a Constitution,
        config: &DirectRewardConfig,
        seed: u64,
    ) -> Result<Self, Error> {
        config.validate()?;
        constitution.comparisons(&config.principles)?;
        Ok(Self {
            judge,
            constitution,
            config: config.clone(),
            seed,
            options: options(config.highest),
        })
    }

    /// Scores dialogues, in order.
    ///
    /// # Errors
    /// If the judge fails, or its answer is no probability.
    pub fn scores(&self, dialogues: &[Dialogue]) -> Result<Vec<DirectScore>, Error> {
        let mut asked = Vec::new();
        for dialogue in dialogues {
            for principle in self.draw(dialogue)? {
                let question = scoring_question(dialogue, &principle.text, self.config.highest);
                asked.push((principle, question));
            }
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let questions: Vec<Dialogue> = asked.iter().map(|(_, question)| question.clone()).collect();
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        let rows = self.judge.choose(&questions, &options)?;
        if rows.len() != questions.len() {
            return Err(Error::Count { expected: questions.len(), found: rows.len() });
        }
        let mut answered = asked.into_iter().zip(rows);
        let score = |dialogue: &Dialogue| {
            let answered = answered.by_ref().take(self.config.principles_per_reply);
            let answers = answered.map(|((principle, question), row)| {
                let probabilities = self.normalised(dialogue, row)?;
                Ok(ScoreAnswer { principle: principle.id.clone(), question, probabilities })
            });
            Ok(self.score(answers.collect::<Result<_, Error>>()?))
        };
        dialogues.iter().map(score).collect()
    }

    fn draw(&self, dialogue: &Dialogue) -> Result<Vec<&'a ComparisonPrinciple>, Error> {
        let prompt = dialogue.prompt().id();
        let mut rng = stream(item_seed(self.seed, &["direct_reward", &prompt, "principles"]));
        let mut draws = self.constitution.comparisons(&self.config.principles)?;
        Ok((0..self.config.principles_per_reply).map(|_| draws.draw(&mut rng)).collect())
    }

    fn normalised(&self, dialogue: &Dialogue, row: Vec<f64>) -> Result<Vec<f64>, Error> {
        let sum: f64 = row.iter().sum();
        let expected = self.options.len();
        if row.len() == expected
            && row.iter().all(|&weight| weight >= 0.0)
            && sum.is_finite()
            && sum > 0.0
        {
            return Ok(row.into_iter().map(|weight| weight / sum).collect());
        }
        Err(Error::Scores { id: dialogue.id(), expected, found: row })
    }

    fn score(&self, answers: Vec<ScoreAnswer>) -> DirectScore {
        let highest = f64::from(self.config.highest);
        let sum: f64 = answers.iter().map(|answer| expected_score(&answer.probabilities)).sum();
        // Rounding must not lead out of the range.
        let score = (sum / answers.len() as f64).clamp(1.0, highest);
        DirectScore { score, reward: 2.0 * (score - 1.0) / (highest - 1.0) - 1.0, answers }
    }
}

impl Reward for DirectReward<'_> {
    #[expect(clippy::cast_possible_truncation, reason = "a number in [-1, 1] fits, rounded")]
    fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, ModelError> {
        let scores = self.scores(dialogues).map_err(|error| match error {
            Error::Judge(error) => error,
            other => ModelError::Model(Box::new(other)),
        })?;
        Ok(scores.iter().map(|score| score.reward as f32).collect())
    }
}

impl std::fmt::Debug for DirectReward<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectReward")
            .field("constitution", &self.constitution.name)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The answers from 1 to `highest`, none of which begins another.
fn options(highest: u8) -> Vec<String> {
    let close = if highest > 9 { ")" } else { "" };
    (1..=highest).map(|score| format!("{score}{close}")).collect()
}

/// The mean of 1, 2, ... under their probabilities.
fn expected_score(probabilities: &[f64]) -> f64 {
    (1_u32..).zip(probabilities).map(|(score, probability)| f64::from(score) * probability).sum()
}

#[cfg(test)]
mod tests;
