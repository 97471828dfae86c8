//! `TensorBoard` itself reads what is written for it.
//!
//! This needs Python with the package `tensorboard`:
//!
//! ```sh
//! PYTHON=venv/bin/python cargo test -p training --test tensor_board
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../dataset/tests/elsewhere/mod.rs"]
mod elsewhere;

use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;
use training::{Observe, TensorBoard};

fn seen(python: &Path, folder: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tensor_board.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Steps of a process that then ends without a word.
fn take(folder: &Path, stage: &str, done: u64, last: u64, process: f64) {
    let mut board = TensorBoard::new(folder);
    board.start(stage, 9, done).unwrap();
    for step in done + 1..=last {
        board.record(step, &[("loss", process + step as f64), ("rate", 0.0)]).unwrap();
        if step % 2 == 0 {
            board.text(step, "sample", &format!("**{process}**, {step}")).unwrap();
        }
    }
}

#[test]
fn tensorboard_shows_every_step_once() {
    let Some(python) = elsewhere::python("`tensorboard`") else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Steps 4 to 7 are taken again by the second process; the first was killed while it wrote an event.
    take(folder, "sft", 0, 7, 100.0);
    take(folder, "ppo", 0, 5, 0.0);
    let file = fs::read_dir(folder.join("sft")).unwrap().next().unwrap().unwrap().path();
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(file.metadata().unwrap().len() - 3).unwrap();
    take(folder, "sft", 3, 5, 200.0);
    let sft = json!({
        "sft/loss": [[1, 101.0], [2, 102.0], [3, 103.0], [4, 204.0], [5, 205.0]],
        "sft/rate": [[1, 0.0], [2, 0.0], [3, 0.0], [4, 0.0], [5, 0.0]],
        "sft/sample": [[2, "**100**, 2"], [4, "**200**, 4"]],
    });
    let ppo = json!({
        "ppo/loss": [[1, 1.0], [2, 2.0], [3, 3.0], [4, 4.0], [5, 5.0]],
        "ppo/rate": [[1, 0.0], [2, 0.0], [3, 0.0], [4, 0.0], [5, 0.0]],
        "ppo/sample": [[2, "**0**, 2"], [4, "**0**, 4"]],
    });
    assert_eq!(seen(&python, folder), json!({ "ppo": ppo, "sft": sft }));

    // A stage that begins anew leaves nothing of the last time.
    take(folder, "sft", 0, 1, 300.0);
    let sft = json!({ "sft/loss": [[1, 301.0]], "sft/rate": [[1, 0.0]], "sft/sample": [] });
    assert_eq!(seen(&python, folder), json!({ "ppo": ppo, "sft": sft }));
}
