//! How well ratings are predicted.

use crate::{pearson, spearman};
use serde::{Deserialize, Serialize};

/// How well a model predicts ratings that it was not fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatingReport {
    /// Dialogues measured.
    pub n: usize,
    /// Mean square of prediction less rating.
    pub mean_squared_error: f64,
    /// The same for whoever predicts the mean of the ratings trained on, whatever the dialogue: what must be beaten.
    pub of_the_mean: f64,
    /// Linear correlation of predictions and ratings; none if one of them is constant.
    pub pearson: Option<f64>,
    /// Correlation of their ranks; none if one of them is constant.
    pub spearman: Option<f64>,
}

impl RatingReport {
    /// Compares predictions with ratings; `mean` is that of the ratings trained on. None of nothing.
    pub(super) fn of(predictions: &[f64], ratings: &[f64], mean: f64) -> Option<Self> {
        let n = ratings.len();
        let error = |of: &dyn Fn(usize) -> f64| {
            (0..n).map(|index| (of(index) - ratings[index]).powi(2)).sum::<f64>() / n as f64
        };
        (n > 0).then(|| Self {
            n,
            mean_squared_error: error(&|index| predictions[index]),
            of_the_mean: error(&|_| mean),
            pearson: pearson(predictions, ratings),
            spearman: spearman(predictions, ratings),
        })
    }

    /// What the last step records.
    pub(super) fn metrics(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let always = [
            ("held_out_dialogues", self.n as f64),
            ("held_out_squared_error", self.mean_squared_error),
            ("held_out_squared_error_of_the_mean", self.of_the_mean),
        ];
        let correlation = self.pearson.map(|found| ("held_out_correlation", found));
        always.into_iter().chain(correlation)
    }
}
