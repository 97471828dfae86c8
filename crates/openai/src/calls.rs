//! Calls of the client: what is asked for, and the answers by their kind.

use crate::Client;
use crate::asked::Asked;
use crate::task::Task;
use dialogue::Dialogue;
use language_model::{Answer, Choose, Completion, Generate, Prompt, Sampling};

impl Client {
    /// A reply to each prompt; `asked` learns of it.
    pub(crate) fn replies(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        asked: &Asked<'_>,
    ) -> Result<Vec<Completion>, language_model::Error> {
        sampling.validate()?;
        let task = |prompt| Task::reply(&self.transport, prompt, sampling);
        let tasks = prompts.iter().map(task).collect::<Result<_, _>>()?;
        let answers = self.answer_all(tasks, asked)?;
        let completions = answers.into_iter().filter_map(|answer| match answer {
            Answer::Completion(completion) => Some(completion),
            Answer::Probabilities(_) => None,
        });
        checked(completions.collect(), prompts.len())
    }

    /// The probability of each option behind each prompt; `asked` learns of it.
    pub(crate) fn choices(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
        asked: &Asked<'_>,
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        if options.is_empty() || options.iter().any(|option| option.trim().is_empty()) {
            let reason =
                "an option needs at least one character besides spaces, and there must be one";
            return Err(language_model::Error::Option { option: String::new(), reason });
        }
        let task = |prompt| Task::choice(&self.transport, prompt, options);
        let tasks = prompts.iter().map(task).collect::<Result<_, _>>()?;
        let answers = self.answer_all(tasks, asked)?;
        let rows = answers.into_iter().filter_map(|answer| match answer {
            Answer::Probabilities(row) if row.len() == options.len() => Some(row),
            _ => None,
        });
        checked(rows.collect(), prompts.len())
    }
}

impl Generate for Client {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        self.replies(prompts, sampling, &Asked::default())
    }
}

impl Choose for Client {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        self.choices(prompts, options, &Asked::default())
    }
}

/// All answers, or an error if a file of answers was tampered with: names of replies and of choices are never the same.
fn checked<T>(answers: Vec<T>, expected: usize) -> Result<Vec<T>, language_model::Error> {
    if answers.len() == expected {
        return Ok(answers);
    }
    let message =
        "a kept answer is of another kind than what was asked; remove the file of answers";
    Err(language_model::Error::Model(message.into()))
}
