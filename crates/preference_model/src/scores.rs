//! Scores of many dialogues at once, without gradients.

use crate::fit::STAGE;
use crate::pairs::{Pair, Pairs};
use crate::{Error, Report};
use burn::tensor::backend::Backend;
use language_model::{item_seed, stream};
use rand::seq::SliceRandom;
use std::collections::{HashMap, HashSet};
use transformer::ScalarModel;

/// Tokens that go through the model at once where no gradient is taken.
pub(crate) const SCORED_TOKENS: usize = 4096;

/// The scores that a fitted model is measured by and that fix the scale of its rewards, every dialogue scored once.
///
/// They are those of at least `references` distinct dialogues, as far as there are so many: all that are held out, since
/// the model has not seen them, then others drawn from those trained on.
pub(crate) fn final_scores<B: Backend>(
    model: &ScalarModel<B>,
    pairs: &Pairs,
    training: &[&Pair],
    held_out: &[&Pair],
    references: usize,
    seed: u64,
) -> Scores {
    let mut rows = distinct(held_out);
    let mut others = distinct(training);
    others.shuffle(&mut stream(item_seed(seed, &[STAGE, "reference"])));
    rows.extend(others.into_iter().take(references.saturating_sub(rows.len())));
    Scores::of(model, pairs, &rows)
}

/// The scores of some rows.
pub(crate) struct Scores {
    /// In the order in which the rows were given.
    values: Vec<f32>,
    /// The place of a row in `values`.
    places: HashMap<usize, usize>,
}

impl Scores {
    pub(crate) fn of<B: Backend>(model: &ScalarModel<B>, pairs: &Pairs, rows: &[usize]) -> Self {
        let tokens: Vec<&[u32]> = rows.iter().map(|&row| pairs.row(row)).collect();
        let places = rows.iter().enumerate().map(|(place, &row)| (row, place)).collect();
        Self { values: model.scores(&tokens, SCORED_TOKENS), places }
    }

    /// All scores, every row's once.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// How well pairs of these rows are ordered; none without pairs.
    pub(crate) fn report(&self, pairs: &[&Pair]) -> Result<Option<Report>, Error> {
        let score = |row: usize| f64::from(self.values[self.places[&row]]);
        let margins: Vec<f64> =
            pairs.iter().map(|pair| score(pair.chosen) - score(pair.rejected)).collect();
        let labels: Vec<f64> = pairs.iter().map(|pair| pair.probability).collect();
        Report::of(&margins, &labels)
    }
}

/// The rows of pairs, every one once, in the order in which they come first.
pub(crate) fn distinct(pairs: &[&Pair]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let rows = pairs.iter().flat_map(|pair| [pair.chosen, pair.rejected]);
    rows.filter(|&row| seen.insert(row)).collect()
}
