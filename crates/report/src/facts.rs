//! The numbers of the stages that draw text, as names and values.

use crate::format::{percent, typographic};
use critique_revision::RevisionSummary;
use red_team::Figures;

/// A name and what it says.
pub(crate) type Fact = (&'static str, String);

/// What was found wrong with critiques and revisions.
pub(crate) fn of_revisions(summary: &RevisionSummary) -> Vec<Fact> {
    let RevisionSummary { steps, found, redrawn, dropped, .. } = summary;
    vec![
        ("steps", steps.to_string()),
        ("critiques that are revisions", found.critique_is_revision.to_string()),
        ("revisions that are critiques", found.revision_is_critique.to_string()),
        ("empty revisions", found.empty.to_string()),
        ("truncated revisions", found.truncated.to_string()),
        ("unchanged revisions", found.unchanged.to_string()),
        ("drawn again", redrawn.to_string()),
        ("steps dropped", dropped.to_string()),
    ]
}

/// How valid and how new the requests of one kind are.
pub(crate) fn of_requests(figures: &Figures) -> Vec<Fact> {
    let left_out = figures.left_out;
    let lines = |share: f64| (figures.lines > 0).then(|| percent(share));
    let facts = [
        ("requests", Some(figures.requests.to_string())),
        ("lines read", Some(figures.lines.to_string())),
        ("valid", figures.validity.map(percent)),
        ("novel among the valid", figures.novelty.map(percent)),
        (
            "mean similarity to the nearest seed",
            figures.mean_nearest_seed.map(|mean| typographic(&format!("{mean:.3}"))),
        ),
        ("unparsed", lines(left_out.unparsed)),
        ("cut off", lines(left_out.cut_off)),
        ("wrong length", lines(left_out.wrong_length)),
        ("wrong language", lines(left_out.wrong_language)),
        ("duplicates", lines(left_out.duplicate)),
        ("near a seed", lines(left_out.near_seed)),
        ("near another", lines(left_out.near_request)),
    ];
    facts.into_iter().filter_map(|(name, fact)| Some((name, fact?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_read_has_no_shares() {
        let facts = of_requests(&Figures::default());
        assert_eq!(facts, [("requests", "0".to_owned()), ("lines read", "0".to_owned())]);
        let read = Figures { lines: 4, novelty: Some(0.25), ..Figures::default() };
        let facts = of_requests(&read);
        assert!(facts.contains(&("novel among the valid", "25.0%".to_owned())), "{facts:?}");
        assert!(facts.contains(&("cut off", "0.0%".to_owned())));
    }
}
