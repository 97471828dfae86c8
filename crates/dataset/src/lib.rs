//! Datasets on disk: prompts and preferences in, JSON lines out, and a durable [`Journal`].
//!
//! Every file is JSON lines, one row a line; a name that ends in `.gz` means compressed. A bad row is an error that
//! names file, line and field. What is written is either replaced at once ([`write_jsonl`], [`write_atomic`]) or
//! appended with one durable record an item ([`Journal`]) or by whole lines ([`AppendOnly`]), so a killed process
//! leaves nothing that looks whole and is not. Files longer than memory are read row by row: [`prompts`] and
//! [`comparisons`].
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

mod append_only;
mod atomic;
mod comparisons;
mod conversation;
mod difference;
mod error;
mod journal;
mod jsonl;
mod lines;
mod preferences;
mod prompts;
mod rows;
mod split;

pub use append_only::AppendOnly;
pub use atomic::{replace, write_atomic};
pub use comparisons::comparisons;
pub use difference::Difference;
pub use error::Error;
pub use journal::Journal;
pub use jsonl::{read_jsonl, write_jsonl};
pub use preferences::read_preferences;
pub use prompts::{Prompts, prompts, read_prompts};
pub use rows::Rows;
pub use split::split_by_hash;
