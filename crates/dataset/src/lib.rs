//! Datasets on disk: prompts and preferences in, JSON lines out, and a durable [`Journal`].
//!
//! A file is JSON lines (or one JSON list), comma-separated values or Apache Parquet, as its name says; one that ends in
//! `.gz` is compressed. [`Reading`] says which columns hold what and what becomes of bad rows: by default the first is an
//! error that names file, line and field. Whatever the format, rows are read and [written](write_rows) a few at a time.
//! [`Splits`] divides rows by their content, [`Mixture`] joins files by weight.
//!
//! What is written is either replaced at once ([`write_rows`], [`write_jsonl`], [`write_atomic`]) or appended with one durable
//! record an item ([`Journal`]), by whole lines ([`AppendOnly`]) or answer by answer until each is settled ([`AnswerLog`]), so a
//! killed process leaves nothing that looks whole and is not.
//!
//! The feature `parquet` brings Parquet.
//!
//! ```
//! # fn main() -> Result<(), dataset::Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("prompts.jsonl");
//! std::fs::write(&path, "{\"prompt\": \"How do I kill weeds?\"}\n\"How do I kill weeds?\"\n").unwrap();
//! let prompts = dataset::read_prompts(&path)?;
//! assert_eq!(prompts.dialogues[0].last_request(), Some("How do I kill weeds?"));
//! assert_eq!(prompts.duplicates, 1);
//! # Ok(())
//! # }
//! ```

mod answer_log;
mod append_only;
mod atomic;
mod columns;
mod conversation;
mod csv_rows;
mod dialogues;
mod difference;
mod error;
mod file;
mod journal;
mod json_rows;
mod jsonl;
mod lines;
mod mixture;
mod numbered;
mod pairs;
#[cfg(feature = "parquet")]
mod parquet_columns;
#[cfg(feature = "parquet")]
mod parquet_file;
#[cfg(feature = "parquet")]
mod parquet_rows;
mod partial_conversations;
mod place;
mod preferences;
mod prompts;
mod reading;
mod records;
mod red_team_attempts;
mod rejects;
mod replies;
mod row_format;
mod rows;
mod samples;
mod source;
mod split;
mod write;

pub use answer_log::AnswerLog;
pub use append_only::AppendOnly;
pub use atomic::{replace, write_atomic};
pub use columns::ColumnMapping;
pub use difference::Difference;
pub use error::Error;
pub use journal::Journal;
pub use jsonl::{jsonl_rows, read_jsonl, write_jsonl};
pub use mixture::{Exhausted, Mixture, Part, Stream};
pub use pairs::Pair;
pub use partial_conversations::partial_conversations;
pub use place::Place;
pub use preferences::read_preferences;
pub use prompts::{Prompts, prompts, read_prompts};
pub use reading::Reading;
pub use red_team_attempts::RedTeamAttempt;
pub use rejects::{Rejected, Rejects};
pub use replies::Replies;
pub use row_format::RowFormat;
pub use rows::Rows;
pub use samples::{Samples, ScoredReply};
pub use split::{Splits, content_id, split_by_hash};
pub use write::write_rows;
