//! Worked examples of the paper's own files, as settings.

use super::Failure;
use rlaif::{ai_feedback, critique_revision};
use std::path::Path;
use toml::{Table, Value};

/// A settings file that shows the examples of either file, or of both.
pub(super) fn few_shots(
    revisions: Option<&Path>,
    comparisons: Option<&Path>,
) -> Result<String, Failure> {
    let mut settings = Table::new();
    let mut show = |stage: &str, examples: Value| {
        let table = Table::from_iter([("few_shots".to_owned(), examples)]);
        settings.insert(stage.to_owned(), Value::Table(table));
    };
    if let Some(file) = revisions {
        let examples = critique_revision::few_shots_from_paper(file)?;
        show("critique_revision", Value::try_from(examples)?);
    }
    if let Some(file) = comparisons {
        show("ai_feedback", Value::try_from(ai_feedback::few_shots_from_paper(file)?)?);
    }
    Ok(toml::to_string_pretty(&settings)?)
}
