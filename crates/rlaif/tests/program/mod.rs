//! Runs the program as a user would.
#![allow(dead_code, reason = "not every test needs every one of them")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// The exit status, and what was said on both outputs.
pub(crate) fn rlaif(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rlaif"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[track_caller]
pub(crate) fn says(folder: &Path, arguments: &[&str]) -> String {
    let (status, said, errors) = rlaif(folder, arguments);
    assert_eq!(status, 0, "{errors}");
    said
}

#[track_caller]
pub(crate) fn refused(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let (status, said, errors) = rlaif(folder, arguments);
    assert_eq!(status, 2, "{said} {errors}");
    for part in expected {
        assert!(errors.contains(part), "`{part}` is missing in: {errors}");
    }
}

#[track_caller]
pub(crate) fn object(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&says(folder, arguments)).unwrap()
}
