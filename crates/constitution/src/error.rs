//! What is wrong with a constitution.

use std::fmt;
use std::path::PathBuf;

/// Where in a file the fault lies, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` for a text that came from elsewhere.
    pub file: Option<PathBuf>,
    /// The line, counted from 1; `None` for a constitution that was built in memory.
    pub line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(out, "{}", file.display())?,
            None => write!(out, "constitution")?,
        }
        self.line.map_or(Ok(()), |line| write!(out, ", line {line}"))
    }
}

/// Why a constitution cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the constitution {path}; give the path of a file")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The text is not TOML, or a value has the wrong type.
    #[error(
        "{place}: {message}; a constitution has a `name`, tables `[[critique_revision]]` with `id`, \
         `critique_request` and `revision_request`, and tables `[[comparison]]` with `id` and `text`; each table may \
         have `source`, `tags` and `weight`"
    )]
    Toml {
        /// The place of the fault.
        place: Place,
        /// What the TOML reader says.
        message: String,
    },
    /// A key that every such table has is missing.
    #[error("{place}: `{key}` is missing; write it, or remove the entry")]
    Missing {
        /// The place of the table.
        place: Place,
        /// The key, such as `comparison[3].text`, entries counted from 1.
        key: String,
    },
    /// A key is not one of those that there are.
    #[error("{place}: `{key}` is unknown; there are {}", known.join(", "))]
    Unknown {
        /// The place of the key.
        place: Place,
        /// The key, such as `comparison[3].txt`, entries counted from 1.
        key: String,
        /// Those that there are in such a table.
        known: Vec<&'static str>,
    },
    /// A value that must hold text is empty.
    #[error("{place}: `{key}` is empty; write a text, or remove the entry")]
    Empty {
        /// The place of the value.
        place: Place,
        /// The key, such as `comparison[3].text`, entries counted from 1.
        key: String,
    },
    /// Two entries of one list have the same id.
    #[error(
        "{place}: `{key}` is {id:?}, which entry {first} has already; give every entry its own"
    )]
    Duplicate {
        /// The place of the second id.
        place: Place,
        /// The key, such as `comparison[3].id`, entries counted from 1.
        key: String,
        /// The id.
        id: String,
        /// The entry that has it first, counted from 1.
        first: usize,
    },
    /// A weight is no number above 0.
    #[error("{place}: `{key}` is {found}; give a number above 0, or remove the entry")]
    Weight {
        /// The place of the weight.
        place: Place,
        /// The key, such as `comparison[3].weight`, entries counted from 1.
        key: String,
        /// The weight.
        found: f64,
    },
    /// No principle has one of the tags that are drawn.
    #[error(
        "constitution {name:?} has no `{list}` principle with one of the tags {tags:?}; choose tags that it has, or \
         add them to its entries"
    )]
    NothingTagged {
        /// The name of the constitution.
        name: String,
        /// The list.
        list: &'static str,
        /// The tags.
        tags: Vec<String>,
    },
    /// A file of the paper's repository has another form.
    #[error("{file}: {fault}; the paper's repository shows the form")]
    Paper {
        /// The file.
        file: PathBuf,
        /// The key, or the number of the entry counted from 1, and what is wrong there.
        fault: String,
    },
    /// There is no principle at all.
    #[error(
        "{place}: there is no principle; add `[[critique_revision]]` or `[[comparison]]` tables"
    )]
    NoPrinciple {
        /// The file.
        place: Place,
    },
    /// A list that is drawn from is empty.
    #[error(
        "constitution {name:?} has no `{list}` principle to draw; add `[[{list}]]` tables to it"
    )]
    NothingToDraw {
        /// The name of the constitution.
        name: String,
        /// The list.
        list: &'static str,
    },
}
