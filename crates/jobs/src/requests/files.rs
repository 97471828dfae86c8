//! What a job of requests leaves behind.

use super::answer::{Answer, answers};
use super::state::State;
use super::summary::{Ended, report};
use super::{Requests, journal::Journal};
use crate::output::remove;
use crate::{Error, Failed, Report};
use dataset::{AppendOnly, replace, write_atomic};
use dialogue::Dialogue;
use red_team::HarmTag;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// A request that a model wrote: a row that [`crate::revise()`] and [`crate::reply_pairs()`] read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewRequest {
    /// [`Dialogue::id`] of the prompt.
    pub id: String,
    /// One user turn.
    pub prompt: Dialogue,
    /// The call that brought it, counted from 0.
    pub call: usize,
    /// The kind of harm that it asks for, if the settings name any and the model tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<HarmTag>,
}

impl Requests {
    /// Writes the failures, the report and last the records: until they are there, all is in `OUT.part`.
    pub(super) fn finish(&self, state: &State, journal: &Journal<'_>) -> Result<Report, Error> {
        let part = journal.part();
        self.write_failures(state, part)?;
        let report = self.write_report(state, state.ended().unwrap_or(Ended::MaxCalls))?;
        self.write_records(state, part)?;
        Ok(report)
    }

    /// Writes what all answers say.
    pub(super) fn write_report(&self, state: &State, ended: Ended) -> Result<Report, Error> {
        let report = report(state, ended, self.generation.config().requests, &self.seeds);
        let path = self.job.report();
        write_atomic(&path, report.text(&path)?.as_bytes())?;
        Ok(report)
    }

    /// Writes the calls that have failed, if there are any.
    fn write_failures(&self, state: &State, part: &AppendOnly) -> Result<(), Error> {
        let path = self.job.failures();
        if state.failed() == 0 {
            return remove(&path);
        }
        replace(&path, |file| -> Result<(), Error> {
            for answer in answers(part)? {
                let (_, Answer::Refused { call, error }) = answer? else { continue };
                let list = self.generation.prompt(call).dialogue;
                let (index, id) = (call as u64, list.id());
                let failed = Failed { index, id, error, item: json!({ "prompt": list }) };
                write_line(&path, file, &failed)?;
            }
            Ok(())
        })
    }

    fn write_records(&self, state: &State, part: &AppendOnly) -> Result<(), Error> {
        let mut tags = answers(part)?.filter_map(|answer| match answer {
            Ok((_, Answer::Tag { tag, .. })) => Some(Ok(Some(tag))),
            Ok((_, Answer::Untagged { .. })) => Some(Ok(None)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        let path = &self.job.out;
        replace(path, |file| -> Result<(), Error> {
            for (text, call) in state.with_origins() {
                let prompt = Dialogue::from_user(text.as_str());
                let tag = tags.next().transpose()?.flatten();
                write_line(path, file, &NewRequest { id: prompt.id(), prompt, call, tag })?;
            }
            Ok(())
        })
    }
}

fn write_line(path: &Path, file: &mut dyn Write, row: &impl Serialize) -> Result<(), Error> {
    let mut line = serde_json::to_vec(row)
        .map_err(|reason| dataset::Error::Encode { path: path.to_owned(), reason })?;
    line.push(b'\n');
    let written = file.write_all(&line);
    Ok(written.map_err(|source| dataset::Error::Write { path: path.to_owned(), source })?)
}
