//! `rlaif constitution`: show, check, compare, and trade with the paper's files.

use super::drawn::Drawn;
use super::few_shots::few_shots;
use super::flips::flips;
use super::{Failure, say};
use clap::{Args, Subcommand};
use rlaif::constitution::{Change, Constitution, Lint};
use rlaif::dataset::write_atomic;
use rlaif::run::{built_in_constitution, find_constitution};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// `rlaif constitution`.
#[derive(Debug, Clone, Args)]
pub(super) struct ConstitutionArgs {
    #[command(subcommand)]
    command: ConstitutionCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum ConstitutionCommand {
    /// Print a constitution as TOML: a file to begin one's own with.
    #[command(after_help = "Example:\n  rlaif constitution show general > my_constitution.toml")]
    Show {
        /// `general`, `world` (that of the embedded world), or a file.
        #[arg(default_value = "general")]
        which: PathBuf,
    },
    /// Say everything that is wrong with a constitution, or looks so.
    #[command(
        after_help = "Examples:\n  rlaif constitution lint general\n  rlaif constitution lint my_constitution.toml\n  rlaif constitution lint my_constitution.toml --run runs/mine\n  rlaif constitution lint my_constitution.toml --run labels.jsonl"
    )]
    Lint {
        /// `general`, `world`, or a file.
        which: PathBuf,
        /// A run's folder, what `rlaif revise` or `rlaif label` has written, or a folder of such files, finished or under
        /// way: names the principles that were never drawn in it, and those drawn that are not in the constitution.
        #[arg(long, value_name = "FOLDER|FILE")]
        run: Option<PathBuf>,
    },
    /// Say what changed from one constitution to another, and which labels it flips.
    #[command(
        after_help = "Examples:\n  rlaif constitution diff general my_constitution.toml\n  rlaif constitution diff general my_constitution.toml --labels runs/a/ai_feedback/labels.jsonl runs/b/ai_feedback/labels.jsonl"
    )]
    Diff {
        /// `general`, `world`, or a file.
        before: PathBuf,
        /// `general`, `world`, or a file.
        after: PathBuf,
        /// `labels.jsonl` of a run with the first and of one with the second, or what `rlaif label` has written, of a shard
        /// too: counts the pairs that both labelled and that prefer the other reply, by the same principles and by others.
        #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
        labels: Option<Vec<PathBuf>>,
    },
    /// Print the principles of the paper's own JSON files as TOML.
    #[command(
        after_help = "Example:\n  rlaif constitution import --revisions CritiqueRevisionInstructions.json --comparisons RLMadisonInstructions.json > paper.toml"
    )]
    Import {
        /// A file like `CritiqueRevisionInstructions.json`.
        #[arg(long, value_name = "FILE", required_unless_present = "comparisons")]
        revisions: Option<PathBuf>,
        /// A file like `RLMadisonInstructions.json`.
        #[arg(long, value_name = "FILE")]
        comparisons: Option<PathBuf>,
        /// The name of the constitution.
        #[arg(long, default_value = "paper")]
        name: String,
    },
    /// Print the worked examples of the paper's own JSON files as settings.
    #[command(
        after_help = "Examples:\n  rlaif constitution few-shots --revisions CritiqueRevisionFewShotPrompts.json --comparisons RLMadisonFewShotPrompts.json > few_shots.toml\n  rlaif run few_shots.toml\n\nAs examples of a chain of thought `--comparisons RLMadisonPrecogFewShotPrompts.json`."
    )]
    FewShots {
        /// A file like `CritiqueRevisionFewShotPrompts.json`.
        #[arg(long, value_name = "FILE", required_unless_present = "comparisons")]
        revisions: Option<PathBuf>,
        /// A file like `RLMadisonFewShotPrompts.json` or `RLMadisonPrecogFewShotPrompts.json`.
        #[arg(long, value_name = "FILE")]
        comparisons: Option<PathBuf>,
    },
    /// Write principles as the paper's own JSON files have them.
    #[command(
        after_help = "Example:\n  rlaif constitution export my_constitution.toml --revisions revisions.json --comparisons comparisons.json"
    )]
    Export {
        /// `general`, `world`, or a file.
        which: PathBuf,
        /// Where to write the principles to critique and revise by.
        #[arg(long, value_name = "FILE", required_unless_present = "comparisons")]
        revisions: Option<PathBuf>,
        /// Where to write the principles to compare by.
        #[arg(long, value_name = "FILE")]
        comparisons: Option<PathBuf>,
    },
}

/// Does what the subcommand says.
pub(super) fn constitution(args: &ConstitutionArgs) -> Result<(), Failure> {
    match &args.command {
        ConstitutionCommand::Show { which } => say(&find_constitution(which)?.to_toml()?),
        ConstitutionCommand::Lint { which, run } => lint(which, run.as_deref()),
        ConstitutionCommand::Diff { before, after, labels } => {
            let (before, after) = (find_constitution(before)?, find_constitution(after)?);
            say(&diff(&before, &after, labels.as_deref())?)
        }
        ConstitutionCommand::Import { revisions, comparisons, name } => {
            let (revisions, comparisons) = (revisions.as_deref(), comparisons.as_deref());
            say(&Constitution::from_paper(name, revisions, comparisons)?.to_toml()?)
        }
        ConstitutionCommand::FewShots { revisions, comparisons } => {
            say(&few_shots(revisions.as_deref(), comparisons.as_deref())?)
        }
        ConstitutionCommand::Export { which, revisions, comparisons } => {
            let constitution = find_constitution(which)?;
            if let Some(file) = revisions {
                write_atomic(file, constitution.revisions_to_paper().as_bytes())?;
            }
            if let Some(file) = comparisons {
                write_atomic(file, constitution.comparisons_to_paper().as_bytes())?;
            }
            Ok(())
        }
    }
}

/// A constitution and what is wrong with it; one that is built in has no faults.
fn linted(which: &Path) -> Result<(Constitution, Lint), Failure> {
    let Some(constitution) = built_in_constitution(which)? else {
        return Ok(Constitution::lint(which)?);
    };
    let doubts = constitution.doubts();
    Ok((constitution, Lint { faults: Vec::new(), doubts }))
}

fn lint(which: &Path, run: Option<&Path>) -> Result<(), Failure> {
    let (constitution, mut found) = linted(which)?;
    if let Some(run) = run {
        let Drawn { revisions, comparisons } = Drawn::of(run)?;
        found.doubts.extend(constitution.doubts_of_draws(&revisions, &comparisons));
    }
    let mut text = String::new();
    for fault in &found.faults {
        line(&mut text, &format!("error: {fault}"));
    }
    for doubt in &found.doubts {
        line(&mut text, &format!("warning: {doubt}"));
    }
    let summary = format!(
        "{}: {} principles to critique and revise by, {} to compare by; {} errors, {} warnings",
        constitution.name,
        constitution.critique_revision.len(),
        constitution.comparison.len(),
        found.faults.len(),
        found.doubts.len()
    );
    line(&mut text, &summary);
    say(&text)?;
    match found.faults.len() {
        0 => Ok(()),
        count => Err(format!("{}: {count} errors", which.display()).into()),
    }
}

fn diff(
    before: &Constitution,
    after: &Constitution,
    labels: Option<&[PathBuf]>,
) -> Result<String, Failure> {
    let mut text = String::new();
    if before.name != after.name {
        line(&mut text, &format!("name: {:?} to {:?}", before.name, after.name));
    }
    let differences = before.diff(after);
    for difference in &differences {
        let what = match &difference.change {
            Change::Added => "added".to_owned(),
            Change::Removed => "removed".to_owned(),
            Change::Changed(keys) => format!("changed {}", keys.join(", ")),
        };
        line(&mut text, &format!("{} {:?}: {what}", difference.list, difference.id));
    }
    let reordered = before.reordered(after);
    for list in &reordered {
        line(&mut text, &format!("{list}: the order changed"));
    }
    for list in before.redrawn(after) {
        line(&mut text, &format!("{list}: drawn by place, so that many items draw another one"));
    }
    if differences.is_empty() && reordered.is_empty() {
        line(&mut text, "the principles are the same");
    }
    match labels {
        Some([before, after]) => text += &flips(before, after)?,
        Some(_) => return Err("`--labels` takes two files, once".into()),
        None => {}
    }
    Ok(text)
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
