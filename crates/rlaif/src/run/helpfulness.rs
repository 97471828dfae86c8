//! The principle by which a judge takes the place of people who label helpfulness.

use constitution::{ComparisonPrinciple, Constitution};

/// What the judge is asked where no people label helpfulness.
const HELPFULNESS: &str =
    "Choose the reply that answers the request better: correct, to the point and of real use.";

/// The constitution by which a judge looks at replies to helpful prompts. It has one principle, whatever tags the others are
/// drawn by.
pub(super) fn helpfulness_constitution() -> Constitution {
    Constitution {
        name: "helpfulness".to_owned(),
        critique_revision: Vec::new(),
        comparison: vec![ComparisonPrinciple {
            id: "helpfulness".to_owned(),
            text: HELPFULNESS.to_owned(),
            source: "arXiv 2112.00861, section 1 (helpful)".to_owned(),
            tags: Vec::new(),
            weight: 1.0,
        }],
    }
}
