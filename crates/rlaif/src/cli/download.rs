//! The bar of a download.

use super::Failure;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use rlaif::hub::{self, Progress};
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};

const TEMPLATE: &str = "{msg} [{bar:24}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";

/// The folder of a model given by path or by name; what must be downloaded shows a bar on standard error.
pub(super) fn fetch(model: &Path) -> Result<PathBuf, Failure> {
    Ok(hub::resolve(model, &mut Bar::default())?)
}

/// A bar for each file on a terminal, a line elsewhere.
#[derive(Debug, Default)]
struct Bar {
    bar: Option<ProgressBar>,
    /// The last file announced by a line: a download that goes on after an interruption begins again.
    announced: String,
}

impl Progress for Bar {
    fn start(&mut self, file: &str, bytes: u64) {
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| ProgressBar::new(bytes));
            bar.reset();
            bar.set_length(bytes);
            // Without the style of ours the bar is still one.
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(file.to_owned());
        } else if self.announced != file {
            file.clone_into(&mut self.announced);
            // A line that cannot be printed is no reason to stop.
            let _ = writeln!(stderr(), "downloading {file}, {}", HumanBytes(bytes));
        }
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }
}
