//! How good a generation was, in shares.

use crate::Generated;
use serde::{Deserialize, Serialize};

/// Validity and novelty of what a model wrote; shares are `None` where there is nothing to take a share of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// New requests.
    pub requests: usize,
    /// Completions read.
    pub completions: usize,
    /// Lines of them that are not blank.
    pub lines: usize,
    /// Share of the lines that are entries of the right length and language.
    pub validity: Option<f64>,
    /// Share of the valid entries that are near no seed.
    pub novelty: Option<f64>,
    /// Mean, over the valid entries, of the highest Jaccard similarity with a seed, from 0 to 1.
    pub mean_nearest_seed: Option<f64>,
    /// Share of the lines that became requests.
    pub yield_share: Option<f64>,
    /// Share of the lines that were left out for each reason.
    pub left_out: LeftOut,
}

/// Shares of the lines, by the reason for which they were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// No entry of a numbered list.
    pub unparsed: f64,
    /// Cut off at the longest length of a completion.
    pub cut_off: f64,
    /// Too short, too long or without a letter or digit.
    pub wrong_length: f64,
    /// Surely in a language that is not asked for.
    pub wrong_language: f64,
    /// Equal to a seed or an earlier entry.
    pub duplicate: f64,
    /// Near a seed.
    pub near_seed: f64,
    /// Near an earlier request.
    pub near_request: f64,
}

impl Generated {
    /// The counts as shares.
    pub fn figures(&self) -> Figures {
        let novelty = self.novelty;
        let lines = novelty.valid
            + [self.unparsed, self.cut_off, self.wrong_length, self.wrong_language]
                .iter()
                .sum::<usize>();
        let of_lines = |count: usize| share(count as f64, lines);
        let left_out = |count: usize| of_lines(count).unwrap_or_default();
        Figures {
            requests: self.requests.len(),
            completions: self.drawn,
            lines,
            validity: of_lines(novelty.valid),
            novelty: share(novelty.novel as f64, novelty.valid),
            mean_nearest_seed: share(novelty.nearest_seed, novelty.valid),
            yield_share: of_lines(self.requests.len()),
            left_out: LeftOut {
                unparsed: left_out(self.unparsed),
                cut_off: left_out(self.cut_off),
                wrong_length: left_out(self.wrong_length),
                wrong_language: left_out(self.wrong_language),
                duplicate: left_out(self.duplicates),
                near_seed: left_out(self.near_seeds),
                near_request: left_out(self.near_requests),
            },
        }
    }
}

fn share(part: f64, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Novelty;

    #[test]
    fn shares_are_of_lines_and_of_valid_entries() {
        let generated = Generated {
            requests: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            drawn: 4,
            unparsed: 1,
            cut_off: 1,
            wrong_length: 1,
            wrong_language: 1,
            duplicates: 2,
            near_seeds: 1,
            near_requests: 0,
            novelty: Novelty { valid: 6, novel: 3, nearest_seed: 1.5 },
        };
        let figures = generated.figures();
        assert_eq!((figures.requests, figures.completions, figures.lines), (3, 4, 10));
        assert_eq!((figures.validity, figures.yield_share), (Some(0.6), Some(0.3)));
        assert_eq!((figures.novelty, figures.mean_nearest_seed), (Some(0.5), Some(0.25)));
        let LeftOut { unparsed, duplicate, near_seed, near_request, .. } = figures.left_out;
        assert_eq!((unparsed, duplicate, near_seed, near_request), (0.1, 0.2, 0.1, 0.0));
        assert_eq!(Generated::default().figures(), Figures::default());
    }
}
