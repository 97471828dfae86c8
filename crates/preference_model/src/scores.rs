//! Scores of many dialogues at once, without gradients.

use crate::fit::STAGE;
use crate::heads::Heads;
use crate::length::{LengthReport, Scored};
use crate::pairs::{Pair, Pairs};
use crate::{Error, Report, SourceReport};
use burn::tensor::backend::Backend;
use language_model::{item_seed, stream};
use rand::seq::SliceRandom;
use std::collections::{HashMap, HashSet};

/// Tokens that go through the model at once where no gradient is taken.
pub(crate) const SCORED_TOKENS: usize = 4096;

/// Dialogues that a model is measured on, every one once.
pub(crate) struct Measured {
    rows: Vec<usize>,
    /// The place of a row in `rows`.
    places: HashMap<usize, usize>,
}

impl Measured {
    /// The dialogues of some pairs.
    pub(crate) fn of(pairs: &[&Pair]) -> Self {
        Self::rows(distinct(pairs))
    }

    /// The dialogues that a fitted model is measured on and that fix the scale of its rewards.
    ///
    /// They are at least `references` distinct ones, as far as there are so many: all that are held out, since the model
    /// has not seen them, then others drawn from those trained on.
    pub(crate) fn at_the_end(
        training: &[&Pair],
        held_out: &[&Pair],
        references: usize,
        seed: u64,
    ) -> Self {
        let mut rows = distinct(held_out);
        let mut others = distinct(training);
        others.shuffle(&mut stream(item_seed(seed, &[STAGE, "reference"])));
        rows.extend(others.into_iter().take(references.saturating_sub(rows.len())));
        Self::rows(rows)
    }

    fn rows(rows: Vec<usize>) -> Self {
        let places = rows.iter().enumerate().map(|(place, &row)| (row, place)).collect();
        Self { rows, places }
    }

    /// The dialogues.
    pub(crate) fn tokens<'a>(&self, pairs: &'a Pairs) -> Vec<&'a [u32]> {
        self.rows.iter().map(|&row| pairs.row(row)).collect()
    }

    /// The scores of every head, `[heads][dialogues]`.
    pub(crate) fn score<B: Backend>(&self, model: &Heads<B>, pairs: &Pairs) -> Vec<Vec<f32>> {
        model.scores(&self.tokens(pairs), SCORED_TOKENS)
    }

    /// `score(chosen) - score(rejected)` of pairs of these dialogues.
    pub(crate) fn margins(&self, scores: &[f64], pairs: &[&Pair]) -> Vec<f64> {
        let score = |row: &usize| scores[self.places[row]];
        pairs.iter().map(|pair| score(&pair.chosen) - score(&pair.rejected)).collect()
    }

    /// How well some pairs of these dialogues are ordered by scores, and how these go with length; none without pairs.
    pub(crate) fn report(
        &self,
        scores: &[f64],
        all: &Pairs,
        pairs: &[&Pair],
    ) -> Result<Option<Report>, Error> {
        let Some(mut report) = self.report_of_one(scores, all, pairs)? else { return Ok(None) };
        if all.names.len() > 1 {
            for (source, name) in all.names.iter().enumerate() {
                let own: Vec<&Pair> =
                    pairs.iter().copied().filter(|pair| pair.source == source).collect();
                let own = self.report_of_one(scores, all, &own)?;
                let named = own.map(|report| SourceReport { name: name.clone(), report });
                report.sources.extend(named);
            }
        }
        Ok(Some(report))
    }

    fn report_of_one(
        &self,
        scores: &[f64],
        all: &Pairs,
        pairs: &[&Pair],
    ) -> Result<Option<Report>, Error> {
        let labels: Vec<f64> = pairs.iter().map(|pair| pair.probability).collect();
        let report = Report::of(&self.margins(scores, pairs), &labels)?;
        Ok(report.map(|report| Report { length: self.length(scores, all, pairs), ..report }))
    }

    fn length(&self, scores: &[f64], all: &Pairs, pairs: &[&Pair]) -> Option<LengthReport> {
        let scored =
            |row: usize| Scored { tokens: all.reply_tokens(row), score: scores[self.places[&row]] };
        let dialogues: Vec<Scored> = distinct(pairs).into_iter().map(scored).collect();
        let pairs: Vec<(Scored, Scored, f64)> = pairs
            .iter()
            .map(|pair| (scored(pair.chosen), scored(pair.rejected), pair.probability))
            .collect();
        LengthReport::of(&dialogues, &pairs)
    }
}

/// The rows of pairs, every one once, in the order in which they come first.
fn distinct(pairs: &[&Pair]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let rows = pairs.iter().flat_map(|pair| [pair.chosen, pair.rejected]);
    rows.filter(|&row| seen.insert(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::testing::{codec, model_config, preference};
    use training::Overlong;

    fn pairs() -> Pairs {
        let ours = [preference("q", "a", "b c", 0.9), preference("r", "a b", "c", 0.8)];
        let theirs = [preference("q", "d", "b c", 0.7)];
        let sources = [Source::new("ours", &ours), Source::new("theirs", &theirs)];
        Pairs::new(&codec(), &model_config(), &sources, Overlong::Error).unwrap()
    }

    #[test]
    fn references_are_held_out_first_and_no_more_than_asked_for() {
        let pairs = pairs();
        let all: Vec<&Pair> = pairs.kept.iter().collect();
        // The prompt of the first and the last is held out.
        let (training, held_out) = ([all[1]], [all[0], all[2]]);
        let rows = |references| Measured::at_the_end(&training, &held_out, references, 1).rows;
        assert_eq!(rows(0), distinct(&held_out));
        assert_eq!(rows(4)[..3], distinct(&held_out));
        assert_eq!(rows(4).len(), 4);
        let mut everything = rows(100);
        everything.sort_unstable();
        assert!(everything.into_iter().eq(0..5));
    }

    #[test]
    fn reports_every_set_alone() {
        let pairs = pairs();
        let all: Vec<&Pair> = pairs.kept.iter().collect();
        let measured = Measured::of(&all);
        // Rows in order: a, b c, a b, c, d.
        let scores = [1.0, 0.0, 0.0, 2.0, 0.5];
        assert_eq!(measured.margins(&scores, &all), [1.0, -2.0, 0.5]);
        let report = measured.report(&scores, &pairs, &all).unwrap().unwrap();
        assert_eq!((report.pairs, report.length.as_ref().unwrap().dialogues), (3, 5));
        let found: Vec<_> =
            report.sources.iter().map(|s| (s.name.as_str(), s.report.mean_margin)).collect();
        assert_eq!(found, [("ours", -0.5), ("theirs", 0.5)]);
        assert_eq!(report.sources[1].report.length.as_ref().unwrap().dialogues, 2);
        let own = measured.report(&scores, &pairs, &all[..2]).unwrap().unwrap();
        assert_eq!(own.sources.len(), 1);
        assert!(measured.report(&scores, &pairs, &[]).unwrap().is_none());
    }
}
