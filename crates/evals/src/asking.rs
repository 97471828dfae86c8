//! Questions asked with worked examples in front, after a chain of thought, and several times.

use crate::draw::complete;
use crate::multiple_choice::answers;
use crate::question::CUE;
use crate::{Error, MultipleChoice, Question};
use dialogue::{Dialogue, Message};
use language_model::{Choose, Generate, Prompt, Sampling, item_seed, stream};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};

/// Opens the reasoning.
const REASONING: &str = "Let's think step by step:";

/// The words that end it.
const ANSWERED: &str = "The answer is";

/// How questions are asked.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `shots` | 0 | worked examples in front of a question |
/// | `samples` | 1 | times that a question is asked, each with examples and reasoning of its own; probabilities are averaged |
/// | `reasoning` | [`Sampling::default`], 256 tokens | how a chain of thought is drawn; the words that open the answer end one |
///
/// The paper averages over five chains of thought (arXiv 2212.08073, section 4.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskConfig {
    /// Worked examples in front of a question.
    pub shots: usize,
    /// Times that a question is asked.
    pub samples: usize,
    /// How a chain of thought is drawn.
    pub reasoning: Sampling,
}

impl Default for AskConfig {
    fn default() -> Self {
        Self { shots: 0, samples: 1, reasoning: Sampling::default().with_max_tokens(256) }
    }
}

impl AskConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] or [`Error::Model`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.samples == 0 {
            let (setting, expected) = ("samples", "a whole number of at least 1");
            return Err(Error::Setting { setting, found: "0".to_owned(), expected });
        }
        Ok(self.reasoning.validate()?)
    }
}

/// Asks every question by choice: the probability of an option is that of its letter behind `The answer is: (`.
///
/// In front of a question stand `config.shots` of `examples`, as earlier turns that end in their right letter; `examples` may
/// be the questions themselves, since none is its own example. They are drawn without replacement from the stream of the
/// question and the sample; if all are taken, they stand in their order. Without shots every sample would be the same, and
/// one is asked.
///
/// # Errors
/// Those of [`crate::multiple_choice`], and [`Error::Setting`] if a setting is out of range or there are too few examples.
pub fn by_choice(
    model: &dyn Choose,
    questions: &[Question],
    examples: &[Question],
    config: &AskConfig,
    seed: u64,
) -> Result<MultipleChoice, Error> {
    config.validate()?;
    let samples = if config.shots == 0 { 1 } else { config.samples };
    let form = |question: &Question, sample| {
        let shots = shots(question, examples, config.shots, sample, seed)?;
        Ok(behind(&shots, Question::answered, question.dialogue.clone()))
    };
    let forms = every(questions, samples, form)?;
    MultipleChoice::of(answers(model, questions, &forms)?)
}

/// Asks every question after a chain of thought: the model reasons behind `Let's think step by step:`, and then a letter is
/// chosen behind `The answer is: (`.
///
/// Examples are drawn as [`by_choice`] does; one with a [`Question::rationale`] shows it. Every sample of a question has a
/// chain of its own, and probabilities are averaged over the samples.
///
/// # Errors
/// Those of [`by_choice`].
///
/// # References
/// Constitutional AI (arXiv 2212.08073), section 4.1 and appendix B; averaging over chains is self-consistency with soft
/// votes (Wang et al. 2022, arXiv 2203.11171).
pub fn by_chain_of_thought<M: Generate + Choose + ?Sized>(
    model: &M,
    questions: &[Question],
    examples: &[Question],
    config: &AskConfig,
    seed: u64,
) -> Result<MultipleChoice, Error> {
    config.validate()?;
    let mut sampling = config.reasoning.clone();
    if !sampling.stop.iter().any(|stop| stop == ANSWERED) {
        sampling.stop.push(ANSWERED.to_owned());
    }
    let form = |question: &Question, sample: usize| {
        question.validate()?;
        let shots = shots(question, examples, config.shots, sample, seed)?;
        let asked = question.dialogue.prompt().with_assistant(REASONING);
        let (id, sample) = (question.dialogue.id(), sample.to_string());
        Ok(Prompt {
            dialogue: behind(&shots, Question::reasoned, asked),
            seed: item_seed(seed, &["evals", "chain_of_thought", &id, &sample]),
        })
    };
    let prompts = every(questions, config.samples, form)?.concat();
    let rationales = complete(model, &prompts, &sampling)?;
    let concluded = |(prompt, rationale): (&Prompt, Option<&String>)| {
        Some(prompt.dialogue.prompt().with_assistant(concluding(rationale?)))
    };
    // A question of which one chain is refused has no forms.
    let form = |(prompts, rationales): (&[Prompt], &[Option<String>])| {
        let pairs = prompts.iter().zip(rationales.iter().map(Option::as_ref));
        pairs.map(concluded).collect::<Option<Vec<Dialogue>>>().unwrap_or_default()
    };
    let chunks = prompts.chunks(config.samples).zip(rationales.chunks(config.samples));
    let forms: Vec<Vec<Dialogue>> = chunks.map(form).collect();
    MultipleChoice::of(answers(model, questions, &forms)?)
}

/// `form` of every sample of every question.
fn every<T>(
    questions: &[Question],
    samples: usize,
    form: impl Fn(&Question, usize) -> Result<T, Error>,
) -> Result<Vec<Vec<T>>, Error> {
    let of = |question| (0..samples).map(|sample| form(question, sample)).collect();
    questions.iter().map(of).collect()
}

/// The worked examples of a sample of a question.
fn shots<'a>(
    question: &Question,
    examples: &'a [Question],
    count: usize,
    number: usize,
    seed: u64,
) -> Result<Vec<&'a Question>, Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut others: Vec<&Question> =
        examples.iter().filter(|example| example.request() != question.request()).collect();
    if count > others.len() {
        let (setting, expected) = ("shots", "at most the number of other questions to draw from");
        return Err(Error::Setting { setting, found: count.to_string(), expected });
    }
    if count < others.len() {
        let (id, number) = (question.dialogue.id(), number.to_string());
        let mut rng = stream(item_seed(seed, &["evals", "shots", &id, &number]));
        others = sample(&mut rng, others.len(), count).iter().map(|place| others[place]).collect();
    }
    others.iter().try_for_each(|example| example.validate())?;
    Ok(others)
}

/// `asked` with the worked examples as earlier turns.
fn behind(shots: &[&Question], render: fn(&Question) -> Dialogue, asked: Dialogue) -> Dialogue {
    let examples = shots.iter().map(|shot| render(shot));
    Dialogue::new(examples.chain([asked]).flat_map(|turns| turns.messages).collect())
}

/// An assistant turn that has reasoned and is about to answer.
fn concluding(rationale: &str) -> String {
    let reasoned = format!("{REASONING} {}", rationale.trim());
    format!("{}\n\n{CUE} (", reasoned.trim_end())
}

impl Question {
    /// The question with its right option as a finished turn.
    fn answered(&self) -> Dialogue {
        self.closed(self.dialogue.clone())
    }

    /// The same after its rationale, if it has one.
    fn reasoned(&self) -> Dialogue {
        match &self.rationale {
            Some(rationale) => {
                self.closed(self.dialogue.prompt().with_assistant(concluding(rationale)))
            }
            None => self.answered(),
        }
    }

    fn closed(&self, mut dialogue: Dialogue) -> Dialogue {
        if let Some(Message { content, .. }) = dialogue.messages.last_mut() {
            content.push_str(&self.options[self.correct]);
            content.push(')');
        }
        dialogue
    }
}

#[cfg(test)]
mod tests;
