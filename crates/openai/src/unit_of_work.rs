//! A client in the hands of one piece of a long job.

use crate::asked::Asked;
use crate::{Client, Error};
use dialogue::Dialogue;
use language_model::{Choose, Completion, Generate, Meter, Prompt, Sampling};

/// Asks as its [`Client`] does, and knows what it asked for, so that the answers can be let go of together.
///
/// A job that writes records of its own needs an answer only until the record that it goes into is durable. Then
/// [`UnitOfWork::settle`] forgets the answers of this unit; one that is dropped without it leaves them where they are, for
/// whoever asks the same again. What has failed for good is not sent again by the same unit. See
/// [`Client::keep_answers_until_settled`].
#[derive(Debug)]
pub struct UnitOfWork<'a> {
    client: &'a Client,
    asked: Asked<'a>,
}

impl Client {
    /// Begins a unit of work.
    pub fn unit_of_work(&self) -> UnitOfWork<'_> {
        UnitOfWork { client: self, asked: Asked::default() }
    }
}

impl<'a> UnitOfWork<'a> {
    /// Counts in `meter` what the server answers, with the tokens of prompts where it tells them; answers that are kept do not
    /// count.
    #[must_use]
    pub fn metered(mut self, meter: &'a Meter) -> Self {
        self.asked.meter = Some(meter);
        self
    }

    /// Forgets the answers of this unit: what was made of them is durable.
    ///
    /// # Errors
    /// [`Error::Kept`] if the file of answers cannot be written.
    pub fn settle(self) -> Result<(), Error> {
        self.client.settle(self.asked.into_names())
    }
}

impl Generate for UnitOfWork<'_> {
    fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Completion>, language_model::Error> {
        self.client.replies(prompts, sampling, &self.asked)
    }
}

impl Choose for UnitOfWork<'_> {
    fn choose(
        &self,
        prompts: &[Dialogue],
        options: &[&str],
    ) -> Result<Vec<Vec<f64>>, language_model::Error> {
        self.client.choices(prompts, options, &self.asked)
    }
}
