//! Questions with fixed answers: `hhh`, `harm` and `harm-type`.

use super::models::{Asking, at_a_time, with_model, with_reward};
use super::stand_ins::{Constant, Oracle};
use super::watch::Watch;
use super::{row_of_left_out, say_json};
use crate::cli::{DeviceArgs, Failure, say};
use clap::{Args, ValueEnum};
use rlaif::ai_feedback::Judge;
use rlaif::evals::{
    Answer, AskConfig, ByPreferenceModel, MultipleChoice, Question, Rate, by_chain_of_thought,
    by_choice, by_preference_model, read_questions_that,
};
use rlaif::language_model::{Reward, Sampling};
use rlaif::openai::Config;
use rlaif::run::JudgeSource;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::str::FromStr;

/// Questions, who answers them, and how they are asked.
#[derive(Debug, Clone, Args)]
pub(super) struct QuestionArgs {
    /// The questions, in the form of the paper's files.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder of a model, its name on the hub, the address of a server, `constant:LETTER`, or `oracle`, who knows the answers.
    #[arg(long)]
    judge: JudgeArg,
    /// Name of the judge on its server [default: the only one that it has].
    #[arg(long, value_name = "NAME")]
    judge_model: Option<String>,
    /// How the judge answers.
    #[arg(long, value_enum, default_value = "choice")]
    by: By,
    /// Worked examples in front of each question, other questions with their answers [default: 0, or all `--examples`].
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// Questions that examples are drawn from, in the form of `--data`, with a `rationale` if they show one [default: the
    /// questions themselves].
    #[arg(long, value_name = "FILE")]
    examples: Option<PathBuf>,
    /// Times that each question is asked, with examples and reasoning of its own; probabilities are averaged [default: 1].
    #[arg(long, value_name = "K")]
    samples: Option<usize>,
    /// Longest chain of thought, in tokens.
    #[arg(long, value_name = "N", default_value_t = AskConfig::default().reasoning.max_tokens)]
    max_tokens: usize,
    /// Seed of every random stream.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
}

/// A way to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The likeliest letter.
    Choice,
    /// The likeliest letter after reasoning aloud.
    ChainOfThought,
    /// The dialogue with the higher score, of files that have both dialogues; the judge is the folder of a preference model.
    PreferenceModel,
}

#[derive(Debug, Clone)]
enum JudgeArg {
    Constant(String),
    Oracle,
    Model(JudgeSource),
}

impl FromStr for JudgeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.strip_prefix("constant:") {
            Some("") => return Err("`constant:` needs the letter of an option".to_owned()),
            Some(letter) => Self::Constant(letter.to_owned()),
            None if text == "oracle" => Self::Oracle,
            None => Self::Model(text.to_owned().into()),
        })
    }
}

impl QuestionArgs {
    /// Asks the questions of the eval `name`, which have so many options.
    pub(super) fn run(
        self,
        name: &'static str,
        options: usize,
        json: bool,
        server: &Config,
    ) -> Result<(), Failure> {
        self.check()?;
        let questions = read_questions_that(&self.data, self.answerable(name, options))?;
        let examples = match &self.examples {
            Some(path) => {
                read_questions_that(path, move |question| has_options(question, name, options))?
            }
            None => questions.clone(),
        };
        let shots = self.shots.unwrap_or(self.examples.as_ref().map_or(0, |_| examples.len()));
        if self.by == By::Choice && shots == 0 && self.samples.is_some_and(|samples| samples > 1) {
            return Err("`--samples` would ask the same question again and get the same answer: by choice they differ only in \
                 their examples; set `--shots`, or `--by chain-of-thought`"
                .into());
        }
        let config = AskConfig {
            shots,
            samples: self.samples.unwrap_or(1),
            reasoning: Sampling::default().with_max_tokens(self.max_tokens),
        };
        config.validate()?;
        let task = Asked { name, by: self.by, questions, examples, config, seed: self.seed, json };
        let device = self.device.device;
        match (&self.judge, self.by) {
            (JudgeArg::Oracle, By::PreferenceModel) => {
                task.tell_scored(&task.scored(&Oracle::new(&task.questions))?)
            }
            (JudgeArg::Model(JudgeSource::Folder(folder)), By::PreferenceModel) => {
                with_reward(folder, device, |model| {
                    let watch = Watch::start(task.name, 2 * task.questions.len())?;
                    let found = task.scored(&watch.head(model))?;
                    watch.finish()?;
                    task.tell_scored(&found)
                })
            }
            (_, By::PreferenceModel) => Err(
                "`--by preference-model` compares scores of dialogues: `--judge` must be the folder of a preference model, \
                 or `oracle`"
                    .into(),
            ),
            (JudgeArg::Oracle, _) => task.tell(&task.answered(&Oracle::new(&task.questions))?),
            (JudgeArg::Constant(letter), _) => {
                task.tell(&task.answered(&Constant(letter.clone()))?)
            }
            (JudgeArg::Model(source), _) => {
                let name = ("judge-model", self.judge_model.as_deref());
                let asking = Asking { device, server, kept: false };
                with_model(source, name, asking, |model| {
                    let watch = Watch::start(task.name, task.calls())?;
                    let size = at_a_time(Some(source), server);
                    let found = task.answered(&watch.model("judge", model, size))?;
                    watch.finish()?;
                    task.tell(&found)
                })
            }
        }
    }

    /// Whether a question of the eval `name` can be answered as it is asked.
    fn answerable(
        &self,
        name: &'static str,
        options: usize,
    ) -> impl Fn(&Question) -> Result<(), String> + Send + use<> {
        let is_scored = self.by == By::PreferenceModel;
        let letter = match &self.judge {
            JudgeArg::Constant(letter) => Some(letter.clone()),
            _ => None,
        };
        move |question: &Question| {
            has_options(question, name, options)?;
            if is_scored && question.whole.is_none() {
                return Err(NOT_SCORED.to_owned());
            }
            match &letter {
                Some(letter) if !question.options.contains(letter) => Err(format!(
                    "has no option {letter:?} in `corrects` or `incorrects`, which `constant:{letter}` always answers; \
                     it has {}",
                    question.options.join(", ")
                )),
                _ => Ok(()),
            }
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let is_server = matches!(self.judge, JudgeArg::Model(JudgeSource::Server(_)));
        if self.judge_model.is_some() && !is_server {
            return Err("`--judge-model` names a model of a server, but `--judge` is none".into());
        }
        let asking = [
            ("--shots", self.shots.is_some()),
            ("--examples", self.examples.is_some()),
            ("--samples", self.samples.is_some()),
        ];
        match asking.into_iter().find(|(_, set)| *set) {
            Some((flag, _)) if self.by == By::PreferenceModel => Err(format!(
                "`{flag}` says how a question is asked, but a preference model is asked none; leave it out"
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// What a row lacks that no preference model can score.
const NOT_SCORED: &str = "lacks `text_correct` and `text_incorrect`, the two dialogues that a preference model scores; ask this file by \
    choice or by chain of thought";

/// Whether a question has as many options as those of the eval `name`.
fn has_options(question: &Question, name: &str, expected: usize) -> Result<(), String> {
    let found = question.options.len();
    if found == expected {
        return Ok(());
    }
    Err(format!(
        "has {found} options in `corrects` and `incorrects`, `rlaif eval {name}` takes questions with {expected}"
    ))
}

/// Questions that wait for a judge.
struct Asked {
    name: &'static str,
    by: By,
    questions: Vec<Question>,
    examples: Vec<Question>,
    config: AskConfig,
    seed: u64,
    json: bool,
}

impl Asked {
    /// By choice or by chain of thought.
    fn answered(&self, judge: &dyn Judge) -> Result<MultipleChoice, Failure> {
        let Self { questions, examples, config, seed, .. } = self;
        Ok(if self.by == By::ChainOfThought {
            by_chain_of_thought(judge, questions, examples, config, *seed)?
        } else {
            by_choice(judge, questions, examples, config, *seed)?
        })
    }

    /// Prompts that the judge is asked: every sample is a choice, by chain of thought behind a reply.
    fn calls(&self) -> usize {
        let each = if self.by == By::ChainOfThought { 2 } else { 1 };
        each * self.config.samples * self.questions.len()
    }

    fn tell(&self, found: &MultipleChoice) -> Result<(), Failure> {
        let ece = found.calibration.expected_calibration_error;
        if self.json {
            let right = found.answers.iter().map(Answer::score).sum();
            let mut object = self.object(found.accuracy, right);
            object["expected_calibration_error"] = json!(ece);
            object["refused"] = json!(found.refused);
            object["shots"] = json!(self.config.shots);
            object["samples"] = json!(self.config.samples);
            return say_json(&object);
        }
        let refused = row_of_left_out(found.refused, "questions were refused");
        say(&format!(
            "accuracy                    {}\ncalibration error (ECE)     {ece:.3}\n{refused}",
            found.accuracy
        ))
    }

    /// By preference model.
    fn scored(&self, model: &dyn Reward) -> Result<ByPreferenceModel, Failure> {
        Ok(by_preference_model(model, &self.questions)?)
    }

    fn tell_scored(&self, found: &ByPreferenceModel) -> Result<(), Failure> {
        if self.json {
            let mut object =
                self.object(found.accuracy, found.accuracy.value * found.accuracy.n as f64);
            object["mean_margin"] = json!(found.mean_margin);
            object["refused"] = json!(found.refused);
            return say_json(&object);
        }
        let refused = row_of_left_out(found.refused, "questions have no scores");
        say(&format!(
            "accuracy       {}\nmean margin    {:.3}\n{refused}",
            found.accuracy, found.mean_margin
        ))
    }

    fn object(&self, Rate { value, low, high, n }: Rate, correct: f64) -> Value {
        let by = match self.by {
            By::Choice => "choice",
            By::ChainOfThought => "chain_of_thought",
            By::PreferenceModel => "preference_model",
        };
        json!({
            "eval": self.name, "by": by, "accuracy": value, "correct": correct, "n": n,
            "interval": [low, high],
        })
    }
}
