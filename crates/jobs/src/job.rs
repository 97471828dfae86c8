//! A job from its input to its file of records.

use crate::header::{Header, beside};
use crate::in_order::in_order;
use crate::input::{Chunks, Input, Item, Kind};
use crate::meter::{Meter, Metered};
use crate::model::{Lent, Model};
use crate::output::{Opened, Output, encode};
use crate::writer::{Finished, Writer};
use crate::{Error, Shard};
use ai_feedback::Judge;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use training::Observe;

/// What is done to which file, and where the records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// A file of any format that `dataset` reads; a row that occurs twice is one item. It is read twice, so it must be a file.
    pub input: PathBuf,
    /// The file of records. While the job is under way `OUT.part` holds them; `OUT.job` says what they belong to.
    pub out: PathBuf,
    /// The part of the items that is worked on; all without it.
    pub shard: Option<Shard>,
    /// Of every random stream.
    pub seed: u64,
    /// How much is under way at a time.
    pub flow: Flow,
}

impl Job {
    /// A job over all items with seed 1 and the default flow.
    pub fn new(input: impl Into<PathBuf>, out: impl Into<PathBuf>) -> Self {
        Self { input: input.into(), out: out.into(), shard: None, seed: 1, flow: Flow::default() }
    }

    /// Where the answers of a served model are kept while the job is under way.
    pub fn answers(&self) -> PathBuf {
        beside(&self.out, "answers")
    }
}

/// How much is under way at a time; it decides the speed, not what comes out.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `chunk` | 8 | items that are worked on together: one call of the model holds a question about each, at least 1 |
/// | `in_flight` | 32 | chunks under way, 1 to 1024 |
///
/// All questions of a chunk wait for the slowest of them, those of other chunks do not. A server is busy if `chunk` times
/// `in_flight` is about twice its `concurrency`; a model on this machine wants one chunk of the size of its batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// Items that are worked on together.
    pub chunk: usize,
    /// Chunks under way.
    pub in_flight: usize,
}

impl Default for Flow {
    fn default() -> Self {
        Self { chunk: 8, in_flight: 32 }
    }
}

impl Flow {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names the first one out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |setting, found: usize, expected| {
            Err(Error::Setting { setting, found: found.to_string(), expected })
        };
        if self.chunk == 0 {
            return wrong("chunk", self.chunk, "a whole number of at least 1");
        }
        if !(1..=1024).contains(&self.in_flight) {
            return wrong("in_flight", self.in_flight, "a whole number of 1 to 1024");
        }
        Ok(())
    }
}

/// A job that is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Records in the file.
    pub records: u64,
    /// Records that were there before.
    pub before: u64,
    /// Rows of the input that were left out because their item had come before.
    pub duplicates: u64,
    /// Calls of the model by this process; one for each prompt, kept answers among them.
    pub calls: u64,
    /// Tokens that were drawn, as far as the model tells.
    pub tokens: u64,
}

/// Gives one record an item, by the model that is lent to the chunk.
type Records<'a, I, T> = dyn Fn(&dyn Judge, &[I]) -> Result<Vec<T>, Error> + Sync + 'a;

/// What is done with a kind of item.
pub(crate) struct Work<'a, I, T> {
    pub(crate) name: &'static str,
    /// The settings that decide the records.
    pub(crate) settings: Value,
    pub(crate) kind: Kind<I>,
    pub(crate) records: &'a Records<'a, I, T>,
}

impl<I: Send, T: Serialize> Work<'_, I, T> {
    /// Does the job, or what is left of it.
    pub(crate) fn run(
        &self,
        job: &Job,
        model: &dyn Model,
        observe: &mut dyn Observe,
    ) -> Result<Done, Error> {
        job.flow.validate()?;
        let input = Input::scan(&job.input, &self.kind, job.shard)?;
        let header = Header {
            job: self.name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: job.seed,
            model: model.about(),
            settings: self.settings.clone(),
            items: input.items,
            input: input.fingerprint.clone(),
            shard: job.shard,
        };
        let meter = Meter::default();
        let before = match Output::open(&job.out, &header)? {
            Opened::Finished => input.mine,
            Opened::UnderWay(output) => self.go_on(job, model, &input, output, &meter, observe)?,
        };
        remove_answers(&job.answers());
        let (records, duplicates) = (input.mine, input.duplicates);
        Ok(Done { records, before, duplicates, calls: meter.calls(), tokens: meter.tokens() })
    }

    /// Does what is left and gives the number of records that were there.
    fn go_on(
        &self,
        job: &Job,
        model: &dyn Model,
        input: &Input,
        mut output: Output,
        meter: &Meter,
        observe: &mut dyn Observe,
    ) -> Result<u64, Error> {
        let part = output.path().to_owned();
        let mut items = input.items(&self.kind)?;
        let before = output.resume(&mut items)?;
        model.keep_answers(&job.answers())?;
        observe.start(self.name, input.mine, before)?;
        let mut writer = Writer::new(output, before, meter, observe);
        let chunks = Chunks { items, size: job.flow.chunk };
        let work = |chunk| self.chunk(job, model.lend(), meter, chunk);
        let worked = in_order(chunks, &job.flow, work, || meter.stop(), &mut writer);
        // Whatever has failed, what is written is brought to the disk.
        let synced = writer.sync();
        if let Err(source) = worked.and(synced) {
            let (done, total, source) = (writer.done, input.mine, Box::new(source));
            return Err(Error::Stopped { done, total, part, source });
        }
        writer.finish()?;
        Ok(before)
    }

    fn chunk<'m>(
        &self,
        job: &Job,
        lent: Box<dyn Lent + 'm>,
        meter: &Meter,
        chunk: Vec<Item<I>>,
    ) -> Result<Finished<'m>, Error> {
        let (places, values): (Vec<Item<()>>, Vec<I>) = chunk
            .into_iter()
            .map(|Item { index, id, value }| (Item { index, id, value: () }, value))
            .unzip();
        let records = (self.records)(&Metered { model: &*lent, meter }, &values)?;
        if records.len() != values.len() {
            return Err(Error::Count { expected: values.len(), found: records.len() });
        }
        let mut lines = Vec::new();
        for (place, record) in places.iter().zip(&records) {
            encode(&job.out, job.shard, place, record, &mut lines)?;
        }
        Ok(Finished { lines, records: records.len() as u64, lent })
    }
}

/// Removes what is no longer needed; that it may still lie there afterwards is no failure.
fn remove_answers(path: &Path) {
    let _ = std::fs::remove_file(path);
}
