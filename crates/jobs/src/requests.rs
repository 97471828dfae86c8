//! New requests, written by a model that continues lists of seeds.

mod answer;
mod calls;
mod failures;
mod files;
mod journal;
mod seeds;
mod settings;
mod shown;
mod state;
mod summary;
mod tags;

pub use files::NewRequest;
pub use summary::{Ended, RequestSummary};

use crate::header::{Header, beside};
use crate::model::Model;
use crate::output::{check_place, check_same, claim, found, remove};
use crate::prepared::{Prepared, Work, remove_answers, replace_rejects};
use crate::recount::count_lines;
use crate::{Done, Error, Job, Report};
use dataset::AppendOnly;
use journal::Journal;
use language_model::Meter;
use red_team::{Generation, GenerationConfig};
use seeds::Seeds;
use serde_json::{Value, json};
use shown::Shown;
use state::State;
use std::path::Path;
use training::Observe;

/// Its name in `OUT.job`.
const NAME: &str = "requests";

/// Prepares to let a model write new requests from the prompts of a file, as [`red_team::generate_requests`] does; a record
/// is a [`NewRequest`].
///
/// A call shows a list of [`GenerationConfig::shots`] seeds, drawn for it: what the prompts of the input begin with. Many
/// calls are under way at a time, but what they bring is taken in their order, so that it does not depend on which is
/// answered first. The job ends with [`GenerationConfig::requests`] requests or after
/// [`GenerationConfig::max_calls`] times [`GenerationConfig::batch`] calls, and tells which. With
/// [`GenerationConfig::harm_types`] every request is tagged then.
///
/// The whole input is read, and kept in memory, before a model is there.
///
/// # Errors
/// If the seeds or the settings cannot be used, a shard or [`Job::retry_failed`] is asked for, or another file stands in the
/// place of the records.
pub fn requests(job: Job, config: GenerationConfig) -> Result<Prepared, Error> {
    job.validate()?;
    let config = settings::of_calls(&job, config)?;
    job.check_input()?;
    check_place(&job.out)?;
    let work = match found(&job.out)? {
        None => Requests::read(&job, &config, &job.rejects())?,
        Some(found) => Requests::again(&job, &config, &found)?,
    };
    Ok(Prepared::of(job, Box::new(work)))
}

/// A generation whose seeds are read.
struct Requests {
    job: Job,
    seeds: Seeds,
    generation: Generation,
}

impl Work for Requests {
    fn run(&self, model: &dyn Model, observe: &mut dyn Observe) -> Result<Done, Error> {
        let job = &self.job;
        // Its lock keeps other processes away until the end.
        let _claimed = claim(&job.out, &self.header(model.about()))?;
        let (meter, part) = (Meter::default(), beside(&job.out, "part"));
        let (report, before) = if job.out.exists() {
            let report = self.report(&part)?;
            // A process was killed after it had finished.
            remove(&part)?;
            let records = report.records;
            (report, records)
        } else {
            self.go_on(model, &part, &meter, observe)?
        };
        remove_answers(&job.answers());
        let Seeds { duplicates, rejected, .. } = self.seeds;
        let (calls, tokens) = (meter.calls(), meter.tokens());
        Ok(Done { report, before, duplicates, rejected, equal: 0, calls, tokens })
    }
}

impl Requests {
    /// Reads the seeds; bad rows go to `rejects`.
    fn read(job: &Job, config: &GenerationConfig, rejects: &Path) -> Result<Self, Error> {
        let mut seeds = Seeds::read(job, config, rejects)?;
        let generation = Generation::new(std::mem::take(&mut seeds.texts), config, job.seed)?;
        Ok(Self { job: job.clone(), seeds, generation })
    }

    /// Reads the seeds of a job that has begun, and leaves its files alone unless it is this one.
    fn again(job: &Job, config: &GenerationConfig, found: &Header) -> Result<Self, Error> {
        let rejects = beside(&job.out, "rejects.new.jsonl");
        let work = Self::read(job, config, &rejects)?;
        // Of the model nothing is known yet.
        if let Err(error) = check_same(&job.out, found, &work.header(found.model.clone())) {
            remove(&rejects)?;
            return Err(error);
        }
        replace_rejects(job, &rejects, work.seeds.rejected)?;
        Ok(work)
    }

    fn header(&self, model: Value) -> Header {
        Header {
            job: NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: self.job.seed,
            model,
            settings: json!({ "red_team": self.generation.config() }),
            items: self.seeds.count,
            input: self.seeds.fingerprint.clone(),
            shard: None,
        }
    }

    /// The report of the finished job, which must have as many records as it counts. One that is not there is made again if a
    /// process that was killed has left the answers, which say more than the records.
    fn report(&self, part: &Path) -> Result<Report, Error> {
        let path = self.job.report();
        if path.exists() {
            let (report, found) = (Report::read(&path)?, count_lines(&self.job.out)?);
            if found != report.records {
                let (path, expected) = (self.job.out.clone(), report.records);
                return Err(Error::OtherCount { path, expected, found });
            }
            return Ok(report);
        }
        if part.exists() {
            let state = State::read(&AppendOnly::open(part)?, &self.generation)?;
            if let Some(ended) = state.ended() {
                return self.write_report(&state, ended);
            }
        }
        Err(Error::LacksReport { path, records: self.job.out.clone() })
    }

    /// Does what is left; gives the report and the number of requests that were there.
    fn go_on(
        &self,
        model: &dyn Model,
        path: &Path,
        meter: &Meter,
        observe: &mut dyn Observe,
    ) -> Result<(Report, u64), Error> {
        let mut part = AppendOnly::open(path)?;
        part.sync_name()?;
        part.cut()?;
        let mut state = State::read(&part, &self.generation)?;
        let before = state.kept() as u64;
        model.keep_answers(&self.job.answers())?;
        let mut journal = Journal::new(part);
        let shown = Shown::new(meter, observe);
        if let Err(source) = self.ask(model, &mut state, &mut journal, shown) {
            let (done, total) = (state.kept() as u64, self.generation.config().requests as u64);
            let (part, source) = (path.to_owned(), Box::new(source));
            return Err(Error::Stopped { done, total, part, source });
        }
        let report = self.finish(&state, &journal)?;
        drop(journal);
        remove(path)?;
        Ok((report, before))
    }

    /// Asks for all that is not there yet. Whatever has failed, what is written is brought to the disk.
    fn ask<'a>(
        &self,
        model: &'a dyn Model,
        state: &mut State,
        journal: &mut Journal<'a>,
        mut shown: Shown<'a, '_>,
    ) -> Result<(), Error> {
        let asked = self
            .call(model, state, journal, &mut shown)
            .and_then(|()| self.tag(model, state, journal, &mut shown));
        let synced = journal.sync();
        asked.and(synced)
    }
}
