//! However long a file, reading and writing it takes the same memory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dataset::{Error, Exhausted, Mixture, Part, Reading, Rejects, write_rows};
use dialogue::Dialogue;
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use std::path::Path;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The red-team prompts of the paper (arXiv 2212.08073, section 3.2).
const PROMPTS: usize = 182_831;

/// What a long file may take beyond a short one, in bytes: buffers and a group of rows, far below the file itself.
const SLACK: usize = 16 << 20;

fn row(index: usize) -> Value {
    if index % 1_000 == 999 {
        return json!({"question": index});
    }
    json!({"prompt": [{"role": "user", "content": format!("{index} {}", "How do I? ".repeat(20))}]})
}

/// The most bytes held while something is done.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let done = work();
    (done, MEMORY.peak_usage().saturating_sub(before))
}

/// Writes, reads, rejects and mixes `count` rows, and gives what was done with the most bytes that it took.
fn work(folder: &Path, count: usize) -> Vec<(String, usize)> {
    let names =
        if cfg!(feature = "parquet") { &["a.jsonl", "a.parquet"][..] } else { &["a.jsonl"] };
    let rejects = Some(Rejects::new(folder.join("bad.jsonl"), 0.01));
    let reading = Reading { rejects, ..Reading::default() };
    let (bad, mut peaks) = (count / 1_000, Vec::new());
    for name in names {
        let path = folder.join(name);
        let rows = (0..count).map(|index| Ok::<_, Error>(row(index)));
        let (written, bytes) = peak(|| write_rows(&path, rows).unwrap());
        assert_eq!(written, count);
        peaks.push((format!("writing {name}"), bytes));
        let read = || {
            let mut prompts = reading.prompts(&path).unwrap();
            let good = prompts.by_ref().map(Result::unwrap).count();
            (good, prompts.rejected())
        };
        let (rows, bytes) = peak(read);
        assert_eq!(rows, (count - bad, bad));
        peaks.push((format!("reading {name}"), bytes));
    }
    let path = folder.join("a.jsonl");
    let part = || Part::new(1.0, || reading.prompts(&path));
    let mixed = || -> Result<usize, Error> {
        let mixture: Mixture<Dialogue> = Mixture::new(vec![part(), part()], Exhausted::Stop)?;
        mixture.map(|row| row.map(drop)).try_fold(0, |count, row| row.map(|()| count + 1))
    };
    let (rows, bytes) = peak(mixed);
    assert_eq!(rows.unwrap(), 2 * (count - bad));
    peaks.push(("mixing".to_owned(), bytes));
    peaks
}

#[test]
fn memory_is_flat_from_a_thousand_rows_to_all_of_the_papers() {
    let folder = tempfile::tempdir().unwrap();
    let short = work(folder.path(), 1_000);
    let long = work(folder.path(), PROMPTS);
    let size = std::fs::metadata(folder.path().join("a.jsonl")).unwrap().len();
    assert!(size > 2 * SLACK as u64, "the file must be longer than what memory may grow by");
    for ((what, short), (_, long)) in short.iter().zip(&long) {
        assert!(*long < short + SLACK, "{what}: {short} bytes, then {long}");
    }
}
