//! The labels that change sides from one file of labels to another.

use super::Failure;
use rlaif::dataset::jsonl_rows;
use rlaif::jobs::Recorded;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// What a label comes to. The questions and rationales behind it are not kept.
#[derive(Deserialize)]
#[serde(try_from = "Row")]
struct Verdict {
    /// Of the pair.
    id: String,
    probability_a: f64,
    /// The ids of the principles, sorted.
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
        let mut ids: Vec<String> = judged.map(|judged| format!("{:?}", judged.id)).collect();
        ids.sort();
        Ok(Self { id, probability_a, principles: ids.join(" + ") })
    }
}

/// Labels of pairs that both files label, and those of them that prefer the other reply.
#[derive(Default)]
struct Flips {
    labels: usize,
    flipped: usize,
    /// One line a flip.
    text: String,
}

impl Flips {
    fn count(&mut self, flip: Option<String>) {
        self.labels += 1;
        if let Some(line) = flip {
            self.flipped += 1;
            self.text += &line;
        }
    }
}

/// The pairs that both files label and that prefer the other reply in the second: first those that the same principles were
/// drawn for. Of each label of the first file its probability and its ids are in memory, of the second one label at a time.
pub(super) fn flips(before: &Path, after: &Path) -> Result<String, Failure> {
    let mut earlier: HashMap<String, (f64, String)> = HashMap::new();
    for label in jsonl_rows::<Recorded<Verdict>>(before)? {
        let Recorded(Verdict { id, probability_a, principles }) = label?;
        earlier.insert(id, (probability_a, principles));
    }
    let (mut same, mut other) = (Flips::default(), Flips::default());
    for label in jsonl_rows::<Recorded<Verdict>>(after)? {
        let Recorded(Verdict { id, probability_a: is, principles }) = label?;
        let Some((was, by)) = earlier.get(&id) else { continue };
        let flips = (was - 0.5) * (is - 0.5) < 0.0;
        let told = |by: String| flips.then(|| format!("{id}: P(A) {was:.3} to {is:.3}, {by}\n"));
        if *by == principles {
            same.count(told(format!("both by {by}")));
        } else {
            other.count(told(format!("by {by} to {principles}")));
        }
    }
    let both = same.labels + other.labels;
    if both == 0 {
        let files = format!("{} and {}", before.display(), after.display());
        return Err(format!("{files} label no pair in common; label the same pairs twice").into());
    }
    Ok(format!(
        "{}{}{} of {both} labels flip: {} of {} by the same principles, {} of {} by others, which measures the new draw as well\n",
        same.text,
        other.text,
        same.flipped + other.flipped,
        same.flipped,
        same.labels,
        other.flipped,
        other.labels,
    ))
}
