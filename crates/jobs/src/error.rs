//! What a job can fail with.

use dataset::Difference;
use std::path::PathBuf;

/// Why a job cannot begin, go on or be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shard is none.
    #[error("the shard is {found:?}, expected i/n with i from 1 to n, such as 1/4")]
    Shard {
        /// What was found.
        found: String,
    },
    /// A setting is out of range.
    #[error("`{setting}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A name asks for another format than the plain JSON lines that a job writes.
    #[error(
        "{path} would hold plain JSON lines, not what `.{extension}` says; leave out `.{extension}`, and see `rlaif convert` for \
         other formats"
    )]
    Format {
        /// The file to write.
        path: PathBuf,
        /// How its name ends.
        extension: &'static str,
    },
    /// The input cannot be read more than once.
    #[error(
        "{path} is {found}, and a job reads its input twice, and once more whenever it goes on; write the rows to a file first"
    )]
    InputNoFile {
        /// The input.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A file that no job made stands in the place of the result.
    #[error(
        "{path} exists already and was not made by this program; choose another name, or remove it"
    )]
    Exists {
        /// The file to write.
        path: PathBuf,
    },
    /// A result, whole or begun, belongs to other settings.
    #[error(
        "{path} was begun with other settings: {}; choose another name, or remove {path}, {path}.part, {path}.job and \
         {path}.answers to begin anew",
        list(differences)
    )]
    OtherSettings {
        /// The file to write.
        path: PathBuf,
        /// Every setting that differs.
        differences: Vec<Difference>,
    },
    /// The file that says what a job is cannot be read.
    #[error("{path}, which says what job its file belongs to, is damaged: {reason}")]
    Header {
        /// The `.job` file.
        path: PathBuf,
        /// What serde says.
        reason: serde_json::Error,
    },
    /// A record does not stand in its place.
    #[error(
        "{path}, line {line}: {problem}; remove the lines from there on to do their items again"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What was found and what was expected.
        problem: String,
    },
    /// A line of a part to merge cannot be used.
    #[error("{path}, line {line}: {problem}; make this part again")]
    DamagedPart {
        /// The part.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The input changed while it was read.
    #[error(
        "{path} has changed while the job was under way: {expected} items then and {found} now, which differ; put the \
         first content back, or begin anew under another name"
    )]
    InputChanged {
        /// The input.
        path: PathBuf,
        /// Items when the job began.
        expected: u64,
        /// Items now.
        found: u64,
    },
    /// Work on a chunk gave too few or too many records.
    #[error("the work on {expected} items gave {found} records; it must give one each")]
    Count {
        /// Items of the chunk.
        expected: usize,
        /// Records that came back.
        found: usize,
    },
    /// Nothing more is asked, since something else has failed.
    #[error("the job is stopping")]
    Stopping,
    /// More items have failed than may.
    #[error(
        "{failed} of {items} items have failed and at most a share of {most} may (`failed_share`), the last because: {last}"
    )]
    TooManyFailed {
        /// Items that have failed.
        failed: u64,
        /// Items that there are.
        items: u64,
        /// The highest share of them that may fail.
        most: f64,
        /// What the model said to the last.
        last: String,
    },
    /// The first items have all failed.
    #[error(
        "the first {failed} items have all failed, so it is not about them; the last because: {last}"
    )]
    NoneSucceeded {
        /// Items that have failed.
        failed: u64,
        /// What the model said to the last.
        last: String,
    },
    /// More calls have failed than may, of a job whose items are calls.
    #[error(
        "{failed} of {calls} calls have failed and at most a share of {most} may (`failed_share`), the last because: {last}"
    )]
    TooManyCallsFailed {
        /// Calls that have failed.
        failed: u64,
        /// Calls so far.
        calls: u64,
        /// The highest share of them that may fail.
        most: f64,
        /// What the model said to the last.
        last: String,
    },
    /// Too few requests to show are left, since others are too long.
    #[error(
        "{path}: {long} seeds are longer than a request may be (`max_characters`, `max_words`), and {found} are left for {shots} \
         shots; add seeds, raise these settings or lower `shots`"
    )]
    LongSeeds {
        /// The input.
        path: PathBuf,
        /// Rows that were left out.
        long: u64,
        /// Seeds that are left.
        found: usize,
        /// Examples a call.
        shots: usize,
    },
    /// A file of records that lacks one, of a job that is finished.
    #[error(
        "{path} counts as finished, but lacks the record of item {id}, which is in {path}.failures.jsonl neither; put the file back, \
         or let `--retry-failed` (`Job::retry_failed`) ask for what is missing"
    )]
    LacksItem {
        /// The file of records.
        path: PathBuf,
        /// The item.
        id: String,
    },
    /// A file of records with another number of them than its report counts, of a job that is finished.
    #[error(
        "{path} counts as finished with {expected} records, but holds {found}; put the file back, or remove {path} and {path}.job to \
         begin anew"
    )]
    OtherCount {
        /// The file of records.
        path: PathBuf,
        /// Records that the report counts.
        expected: u64,
        /// Records that are there.
        found: u64,
    },
    /// The report of a finished job is gone, and so is what it was made of.
    #[error(
        "{path}, the report of a finished job, is gone, and it cannot be made of the records in {records} alone; put it back, or \
         remove {records} and {records}.job to begin anew"
    )]
    LacksReport {
        /// The file of the report.
        path: PathBuf,
        /// The file of records.
        records: PathBuf,
    },
    /// The report of a finished job cannot be read.
    #[error("{path}, the report of a finished job, is damaged: {reason}")]
    Report {
        /// The file.
        path: PathBuf,
        /// What serde says.
        reason: serde_json::Error,
    },
    /// A job ended before it was finished.
    #[error(
        "{source}; {done} of {total} records are in {part}, {}",
        if source.is_about_failures() {
            "failures among them; they are asked for again with `--retry-failed` (`Job::retry_failed`)"
        } else {
            "the same command goes on from there"
        }
    )]
    Stopped {
        /// Records that are there.
        done: u64,
        /// Records that there will be.
        total: u64,
        /// The file that holds them.
        part: PathBuf,
        /// What ended it.
        source: Box<Self>,
    },
    /// A part to merge is not there or not finished.
    #[error("{path} is no finished part of a job: {problem}")]
    NotAPart {
        /// The file.
        path: PathBuf,
        /// What is missing and what to do.
        problem: String,
    },
    /// Two parts do not belong to one job.
    #[error("{path} and {other} are parts of different jobs: {}", list(differences))]
    OtherJob {
        /// A part; what is called "there" in the differences.
        path: PathBuf,
        /// Another.
        other: PathBuf,
        /// Every setting that differs.
        differences: Vec<Difference>,
    },
    /// The same shard is given twice.
    #[error("{path} and {other} are both shard {shard}; give each shard once")]
    Twice {
        /// A part.
        path: PathBuf,
        /// Another.
        other: PathBuf,
        /// The shard.
        shard: crate::Shard,
    },
    /// Shards are missing.
    #[error("of {count} shards {} not given: {}", if missing.len() == 1 { "one is" } else { "some are" }, numbers(missing, *count))]
    Missing {
        /// The shards that are missing, counted from 1.
        missing: Vec<u32>,
        /// Shards that there are.
        count: u32,
    },
    /// A record is missing among the parts.
    #[error(
        "the parts lack the record of item {index}, counted from 0; a part is damaged: make it again, or its \
         .failures.jsonl is not beside it"
    )]
    Lacks {
        /// The place of the item in the input.
        index: u64,
    },
    /// Data on disk.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The constitution.
    #[error(transparent)]
    Constitution(#[from] constitution::Error),
    /// Critique and revision.
    #[error(transparent)]
    CritiqueRevision(#[from] critique_revision::Error),
    /// Labels.
    #[error(transparent)]
    AiFeedback(#[from] ai_feedback::Error),
    /// New requests.
    #[error(transparent)]
    RedTeam(#[from] red_team::Error),
    /// A model.
    #[error(transparent)]
    Model(#[from] language_model::Error),
    /// A model on a server.
    #[error(transparent)]
    OpenAi(#[from] openai::Error),
    /// The progress cannot be shown or recorded.
    #[error(transparent)]
    Training(#[from] training::Error),
}

impl Error {
    /// What the model said, if the error is about one item that it would refuse again.
    pub(crate) fn refusal(&self) -> Option<String> {
        let error = match self {
            Self::CritiqueRevision(critique_revision::Error::Model(error))
            | Self::AiFeedback(ai_feedback::Error::Judge(error))
            | Self::RedTeam(red_team::Error::Model(error))
            | Self::Model(error) => error,
            Self::AiFeedback(error @ ai_feedback::Error::Probabilities { .. }) => {
                return Some(error.to_string());
            }
            _ => return None,
        };
        if !error.concerns_one_prompt() {
            return None;
        }
        // How many answers of the call are kept says nothing about the item.
        let stopped = match error {
            language_model::Error::Refused(error) => error.downcast_ref(),
            _ => None,
        };
        Some(match stopped {
            Some(openai::Error::Stopped { source, .. }) => source.to_string(),
            _ => error.to_string(),
        })
    }

    fn is_about_failures(&self) -> bool {
        matches!(self, Self::TooManyFailed { .. } | Self::NoneSucceeded { .. })
    }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn numbers(missing: &[u32], count: u32) -> String {
    missing.iter().map(|index| format!("{index}/{count}")).collect::<Vec<_>>().join(", ")
}
