//! Columns of the files that are evaluated.

use crate::cli::Failure;
use crate::cli::convert::mapping;
use clap::Args;
use rlaif::dataset::Reading;

/// Which columns of a file hold what.
#[derive(Debug, Clone, Args)]
pub(super) struct ColumnArgs {
    /// Which columns hold what, such as `prompt=question`, with dots into objects.
    #[arg(long, value_name = "KEY=NAME", num_args = 1..)]
    columns: Vec<String>,
}

impl ColumnArgs {
    /// How rows are read; the first bad one is an error.
    pub(super) fn reading(&self) -> Result<Reading, Failure> {
        Ok(Reading { columns: mapping(&self.columns)?, rejects: None })
    }
}
