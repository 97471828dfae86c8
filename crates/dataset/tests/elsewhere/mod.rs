//! What some tests need and this repository does not hold: published files, and Python with packages.
//!
//! A test that goes without says so on standard error. What the macros print is not shown of a test that passes, so this
//! writes past them.
#![allow(dead_code, reason = "not every test needs both")]

use std::io::Write as _;
use std::path::PathBuf;

/// A file under the folder that `RLAIF_DATA_DIR` names; `None` if it names none.
pub(crate) fn published(file: &str) -> Option<PathBuf> {
    match std::env::var_os("RLAIF_DATA_DIR") {
        Some(folder) => Some(PathBuf::from(folder).join(file)),
        None => skipped(&format!("set RLAIF_DATA_DIR to the folder that holds {file}")),
    }
}

/// The interpreter that `PYTHON` names, which must have `packages`; `None` if it names none.
pub(crate) fn python(packages: &str) -> Option<PathBuf> {
    match std::env::var_os("PYTHON") {
        Some(python) => Some(PathBuf::from(python)),
        None => skipped(&format!("set PYTHON to an interpreter that has {packages}")),
    }
}

fn skipped<T>(remedy: &str) -> Option<T> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Nothing is lost if nobody can be told.
    let _ = writeln!(std::io::stderr(), "skipped: {test}; {remedy}");
    None
}
