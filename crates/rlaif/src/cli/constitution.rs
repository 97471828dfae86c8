//! `rlaif constitution`: show, check, compare, and trade with the paper's files.

use super::drawn::Drawn;
use super::{Failure, say};
use clap::{Args, Subcommand};
use rlaif::ai_feedback::Label;
use rlaif::constitution::{Change, Constitution};
use rlaif::dataset::{read_jsonl, write_atomic};
use rlaif::model_organism;
use std::collections::HashMap;
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
        after_help = "Examples:\n  rlaif constitution lint my_constitution.toml\n  rlaif constitution lint my_constitution.toml --run runs/mine\n  rlaif constitution lint my_constitution.toml --run labels.jsonl"
    )]
    Lint {
        /// The file.
        file: PathBuf,
        /// A run's folder, what `rlaif revise` or `rlaif label` has written, or a folder of such files: names the principles
        /// that were never drawn in it.
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
        /// `labels.jsonl` of a run with the first and of one with the second: counts the pairs that both labelled and
        /// that prefer the other reply.
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
        ConstitutionCommand::Show { which } => say(&named(which)?.to_toml()?),
        ConstitutionCommand::Lint { file, run } => lint(file, run.as_deref()),
        ConstitutionCommand::Diff { before, after, labels } => {
            say(&diff(&named(before)?, &named(after)?, labels.as_deref())?)
        }
        ConstitutionCommand::Import { revisions, comparisons, name } => {
            let (revisions, comparisons) = (revisions.as_deref(), comparisons.as_deref());
            say(&Constitution::from_paper(name, revisions, comparisons)?.to_toml()?)
        }
        ConstitutionCommand::Export { which, revisions, comparisons } => {
            let constitution = named(which)?;
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

fn named(which: &Path) -> Result<Constitution, Failure> {
    Ok(match which.to_str() {
        Some("general") => Constitution::general(),
        Some("world") => model_organism::constitution()?,
        _ => Constitution::from_file(which)?,
    })
}

fn lint(file: &Path, run: Option<&Path>) -> Result<(), Failure> {
    let (constitution, mut found) = Constitution::lint(file)?;
    if let Some(run) = run {
        let Drawn { revisions, comparisons } = Drawn::of(run)?;
        found.doubts.extend(constitution.never_drawn(&revisions, &comparisons));
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
        count => Err(format!("{}: {count} errors", file.display()).into()),
    }
}

fn diff(
    before: &Constitution,
    after: &Constitution,
    labels: Option<&[PathBuf]>,
) -> Result<String, Failure> {
    let mut text = String::new();
    let differences = before.diff(after);
    for difference in &differences {
        let what = match &difference.change {
            Change::Added => "added".to_owned(),
            Change::Removed => "removed".to_owned(),
            Change::Changed(keys) => format!("changed {}", keys.join(", ")),
        };
        line(&mut text, &format!("{} {:?}: {what}", difference.list, difference.id));
    }
    if differences.is_empty() {
        line(&mut text, "the principles are the same");
    }
    match labels {
        Some([before, after]) => text += &flips(before, after)?,
        Some(_) => return Err("`--labels` takes two files, once".into()),
        None => {}
    }
    Ok(text)
}

/// The pairs that both files label, and those of them that prefer the other reply.
fn flips(before: &Path, after: &Path) -> Result<String, Failure> {
    let earlier: HashMap<String, Label> =
        read_jsonl::<Label>(before)?.into_iter().map(|label| (label.id.clone(), label)).collect();
    let mut text = String::new();
    let (mut both, mut flipped) = (0, 0);
    for label in read_jsonl::<Label>(after)? {
        let Some(earlier) = earlier.get(&label.id) else { continue };
        both += 1;
        let [was, is] = [earlier.probability_a, label.probability_a];
        if (was - 0.5) * (is - 0.5) < 0.0 {
            flipped += 1;
            let by = format!("{} to {}", judged_by(earlier), judged_by(&label));
            line(&mut text, &format!("{}: P(A) {was:.3} to {is:.3}, by {by}", label.id));
        }
    }
    if both == 0 {
        let files = format!("{} and {}", before.display(), after.display());
        return Err(format!("{files} label no pair in common; label the same pairs twice").into());
    }
    line(&mut text, &format!("{flipped} of {both} labels flip"));
    Ok(text)
}

/// The principles of a label, as they were drawn.
fn judged_by(label: &Label) -> String {
    let ids = label.judgements().map(|judged| format!("{:?}", judged.id));
    ids.collect::<Vec<String>>().join(" + ")
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
