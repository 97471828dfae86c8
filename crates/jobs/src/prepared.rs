//! A job from its input to its file of records.

use crate::before::{Chunks, Todos};
use crate::chunk::lines;
use crate::failed::Limit;
use crate::header::{Header, beside};
use crate::in_order::in_order;
use crate::input::Input;
use crate::model::Model;
use crate::output::{Opened, Output, check_place, check_same, found, remove, rename};
use crate::recount::{check_records, recount};
use crate::stage::Stage;
use crate::stop::{Stop, Stoppable};
use crate::writer::{Finished, Writer};
use crate::{Done, Error, Job, Report};
use dataset::write_atomic;
use language_model::Meter;
use serde_json::Value;
use std::fmt;
use std::path::Path;
use training::Observe;

/// A job whose settings and whole input were found good, and that waits for its model.
pub struct Prepared {
    job: Job,
    work: Box<dyn Work>,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("job", &self.job).finish_non_exhaustive()
    }
}

impl Prepared {
    pub(crate) fn new<S: Stage + 'static>(job: Job, stage: S) -> Result<Self, Error> {
        job.validate()?;
        job.check_input()?;
        check_place(&job.out)?;
        let ready = match found(&job.out)? {
            None => Ready::read(&job, stage, &job.rejects())?,
            Some(found) => Ready::again(&job, stage, &found)?,
        };
        Ok(Self::of(job, Box::new(ready)))
    }

    /// A job whose work is ready.
    pub(crate) fn of(job: Job, work: Box<dyn Work>) -> Self {
        Self { job, work }
    }

    /// What is done.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Does the job, or what is left of it.
    ///
    /// # Errors
    /// If the file of records belongs to something else, the model fails, too many items fail, or a record cannot be
    /// written. What is done is kept.
    pub fn run(&self, model: &dyn Model, observe: &mut dyn Observe) -> Result<Done, Error> {
        self.work.run(model, observe)
    }
}

/// The work of a job.
pub(crate) trait Work: Send + Sync {
    /// Does it, or what is left of it.
    fn run(&self, model: &dyn Model, observe: &mut dyn Observe) -> Result<Done, Error>;
}

struct Ready<S> {
    job: Job,
    input: Input,
    stage: S,
}

impl<S: Stage> Work for Ready<S> {
    fn run(&self, model: &dyn Model, observe: &mut dyn Observe) -> Result<Done, Error> {
        let Self { job, input, .. } = self;
        let meter = Meter::default();
        let (report, before) = match Output::open(job, &self.header(model.about())?)? {
            Opened::Finished => (self.report()?, input.mine),
            Opened::UnderWay(output) => self.go_on(model, output, &meter, observe)?,
        };
        remove_answers(&job.answers());
        let Input { duplicates, rejected, void, .. } = *input;
        let (calls, tokens) = (meter.calls(), meter.tokens());
        Ok(Done { report, before, duplicates, rejected, equal: void, calls, tokens })
    }
}

impl<S: Stage> Ready<S> {
    /// Reads the input; bad rows go to `rejects`.
    fn read(job: &Job, mut stage: S, rejects: &Path) -> Result<Self, Error> {
        let input = Input::scan(job, &S::KIND, rejects)?;
        stage.sized(input.items);
        Ok(Self { job: job.clone(), input, stage })
    }

    /// Reads the input of a job that has begun, and leaves its files alone unless it is this one.
    fn again(job: &Job, stage: S, found: &Header) -> Result<Self, Error> {
        let rejects = beside(&job.out, "rejects.new.jsonl");
        let ready = Self::read(job, stage, &rejects)?;
        // Of the model nothing is known yet.
        if let Err(error) = check_same(&job.out, found, &ready.header(found.model.clone())?) {
            remove(&rejects)?;
            return Err(error);
        }
        replace_rejects(job, &rejects, ready.input.rejected)?;
        Ok(ready)
    }

    /// The report of the finished job, all of whose records must be there; a report that is not is made again.
    fn report(&self) -> Result<Report, Error> {
        let (path, items) = (self.job.report(), self.input.items(&S::KIND)?);
        if path.exists() {
            let report = Report::read(&path)?;
            check_records(&self.job, items, &report)?;
            return Ok(report);
        }
        let report = recount::<S>(&self.job, items)?;
        write_atomic(&path, report.text(&path)?.as_bytes())?;
        Ok(report)
    }

    fn header(&self, model: Value) -> Result<Header, Error> {
        Ok(Header {
            job: S::NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: self.job.seed,
            model,
            settings: self.stage.settings()?,
            items: self.input.items,
            input: self.input.fingerprint.clone(),
            shard: self.job.shard,
        })
    }

    /// Does what is left; gives the report and the number of items that were done.
    fn go_on(
        &self,
        model: &dyn Model,
        mut output: Output,
        meter: &Meter,
        observe: &mut dyn Observe,
    ) -> Result<(Report, u64), Error> {
        let Self { job, input, .. } = self;
        let part = output.path().to_owned();
        let mut todos = Todos::new(input.items(&S::KIND)?, output.before())?;
        let count = output.resume::<S>(&mut todos)?;
        let before = count.items();
        let limit = Limit { share: job.failed_share, items: input.mine };
        let stopped = |done, source| {
            let (total, part, source) = (input.mine, part.clone(), Box::new(source));
            Error::Stopped { done, total, part, source }
        };
        limit
            .check(count.records, count.failed, &count.last_failure)
            .map_err(|error| stopped(before, error))?;
        model.keep_answers(&job.answers())?;
        observe.start(S::NAME, input.mine, before)?;
        let mut writer = Writer::new(output, count, limit, meter, observe);
        let chunks = Chunks { todos, size: job.flow.chunk };
        let stop = Stop::default();
        let work = |chunk| {
            let lent = model.lend(meter);
            let model = Stoppable { model: &*lent, stop: &stop };
            let lines = lines(&self.stage, job, &model, chunk)?;
            Ok(Finished { lines, lent })
        };
        let worked = in_order(chunks, &job.flow, work, || stop.stop(), &mut writer);
        // Whatever has failed, what is written is brought to the disk.
        let synced = writer.sync();
        if let Err(source) = worked.and(synced) {
            return Err(stopped(writer.count.items(), source));
        }
        let before = before + writer.kept;
        Ok((writer.finish(job)?, before))
    }
}

/// Puts the bad rows of an input that was read once more, so many in `rejects`, in the place of those of before.
pub(crate) fn replace_rejects(job: &Job, rejects: &Path, rejected: u64) -> Result<(), Error> {
    if job.rejected_share <= 0.0 {
        return Ok(());
    }
    match rejected {
        0 => remove(&job.rejects()),
        _ => rename(rejects, &job.rejects()),
    }
}

/// Removes what is no longer needed; that it may still lie there afterwards is no failure.
pub(crate) fn remove_answers(path: &Path) {
    let _ = std::fs::remove_file(path);
}
