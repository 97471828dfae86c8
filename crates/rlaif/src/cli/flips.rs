//! The labels that change sides from one file of labels to another.

use super::Failure;
use rlaif::dataset::jsonl_rows;
use rlaif::jobs::Recorded;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

/// What a label comes to. The questions and rationales behind it are not kept.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
struct Verdict {
    /// Of the pair.
    id: String,
    probability_a: f64,
    /// The ids of the principles, as they were drawn.
    principles: String,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    probability_a: f64,
    principles: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    id: String,
    #[serde(default)]
    probe: bool,
}

impl TryFrom<Row> for Verdict {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let Row { id, probability_a, principles } = row;
        if !(0.0..=1.0).contains(&probability_a) {
            return Err(format!(
                "`probability_a` is {probability_a}, expected a number from 0 to 1"
            ));
        }
        let judged = principles.iter().filter(|judged| !judged.probe);
        let ids: Vec<String> = judged.map(|judged| format!("{:?}", judged.id)).collect();
        Ok(Self { id, probability_a, principles: ids.join(" + ") })
    }
}

/// The pairs that both files label, and those of them that prefer the other reply. Of each label of the first file its
/// probability and its ids are in memory, of the second one label at a time.
pub(super) fn flips(before: &Path, after: &Path) -> Result<String, Failure> {
    let mut earlier: HashMap<String, (f64, String)> = HashMap::new();
    for label in jsonl_rows::<Recorded<Verdict>>(before)? {
        let Recorded(Verdict { id, probability_a, principles }) = label?;
        earlier.insert(id, (probability_a, principles));
    }
    let mut text = String::new();
    let (mut both, mut flipped) = (0, 0);
    for label in jsonl_rows::<Recorded<Verdict>>(after)? {
        let Recorded(Verdict { id, probability_a: is, principles }) = label?;
        let Some((was, by)) = earlier.get(&id) else { continue };
        both += 1;
        if (was - 0.5) * (is - 0.5) < 0.0 {
            flipped += 1;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{id}: P(A) {was:.3} to {is:.3}, by {by} to {principles}");
        }
    }
    if both == 0 {
        let files = format!("{} and {}", before.display(), after.display());
        return Err(format!("{files} label no pair in common; label the same pairs twice").into());
    }
    let _ = writeln!(text, "{flipped} of {both} labels flip");
    Ok(text)
}
