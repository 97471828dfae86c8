//! `rlaif constitution`: show and check.

use super::{Failure, say};
use clap::{Args, Subcommand};
use rlaif::constitution::Constitution;
use rlaif::model_organism;
use std::fmt::Write as _;
use std::path::PathBuf;

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
    /// Read a constitution and say what is wrong with it.
    #[command(after_help = "Example:\n  rlaif constitution check my_constitution.toml")]
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Shows or checks a constitution.
pub(super) fn constitution(args: &ConstitutionArgs) -> Result<(), Failure> {
    match &args.command {
        ConstitutionCommand::Show { which } => {
            let constitution = match which.to_str() {
                Some("general") => Constitution::general(),
                Some("world") => model_organism::constitution()?,
                _ => Constitution::from_file(which)?,
            };
            say(&constitution.to_toml()?)
        }
        ConstitutionCommand::Check { file } => {
            let constitution = Constitution::from_file(file)?;
            let mut text = String::new();
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{}: {} principles to critique and revise by, {} to compare by",
                constitution.name,
                constitution.critique_revision.len(),
                constitution.comparison.len()
            );
            say(&text)
        }
    }
}
