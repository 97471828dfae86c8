//! Fitting to ratings.

use super::items::{Item, Items, mean_rating};
use super::learner::Learner;
use super::{FittedRating, RatingConfig, RatingReport};
use crate::{Error, Normalisation, PreferenceModel, Start};
use burn::tensor::backend::AutodiffBackend;
use evals::Rated;
use language_model::{item_seed, stream};
use training::{Checkpoint, Fingerprint, Observe, Steps, batches, check_planned, finite};
use transformer::fingerprint_of;

/// The name of the stage in records, errors and random streams.
pub(super) const STAGE: &str = "rating_model";

impl RatingConfig {
    /// Fits a model to ratings by least squares: the trunk of a language model and a fresh head, or a preference model further.
    ///
    /// ```text
    /// loss = mean((score - (rating - m))^2),  reward = score + m,  m the mean rating of the dialogues trained on
    /// ```
    ///
    /// A share of the dialogues is held out and measures the model at the end. Every step records `loss` (before the update),
    /// `dialogues`, `tokens`, `learning_rate`, `gradient_norm` (before clipping), `overlong` and
    /// `shortened`; the last adds `held_out_dialogues`, `held_out_squared_error`, `held_out_squared_error_of_the_mean` and
    /// `held_out_correlation`, see [`RatingReport`]. A process that goes on from a state that `checkpoint` was given ends in
    /// the same bits.
    ///
    /// # Errors
    /// If a setting is out of range, a rating is not finite, a dialogue cannot be rendered, none is left or too few
    /// for `held_out`, the loss or the gradient is not finite, or a record or state cannot be written or read.
    ///
    /// # References
    /// Constitutional AI (arXiv 2212.08073), section 4.5: a language model fitted by an L2 loss to the ratings that
    /// red-teamers gave whole conversations.
    pub fn fit<B: AutodiffBackend>(
        &self,
        start: impl Into<Start<B>>,
        rated: &[Rated],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<FittedRating<B>, Error> {
        self.validate()?;
        let start = start.into();
        if let Some(lora) = &self.lora {
            lora.validate(start.decoder.config())?;
        }
        let items = Items::new(&start.codec, start.decoder.config(), rated, self.overlong)?;
        if items.kept.is_empty() {
            return Err(Error::NoRatings { overlong: items.overlong });
        }
        let (training, held_out) = items.split(self.held_out, seed)?;
        check_planned(self.epochs, training.len() as f64 * self.epochs as f64)?;
        let order = self.order(&training, seed);
        let all = order.len() as u64;
        let fingerprint = || self.fingerprint(&start, &items, seed);
        let (mut steps, saved) = Steps::begin(STAGE, all, fingerprint, observe, checkpoint)?;
        let (codec, mean) = (start.codec.clone(), mean_rating(&training));
        let mut learner = Learner::begin(self, start, mean, seed)?;
        if let Some(mut saved) = saved {
            learner = learner.restored(&mut saved)?;
        }
        let mut report = None;
        let left = steps.left();
        for (step, batch) in (1..).zip(&order).filter(|(step, _)| left.contains(step)) {
            let mut metrics;
            (learner, metrics) = learner.step(batch, step, all)?;
            metrics.push(("overlong", items.overlong as f64));
            metrics.push(("shortened", items.shortened as f64));
            if step == all {
                learner.check_end(batch, step)?;
                let ratings: Vec<f64> = held_out.iter().map(|item| item.rating).collect();
                report = RatingReport::of(&learner.predictions(&held_out), &ratings, mean);
                for (name, value) in report.iter().flat_map(RatingReport::metrics) {
                    metrics.push((name, finite(STAGE, step, name, value)?));
                }
            }
            steps.record(step, &metrics)?;
            steps.save(step, || learner.state())?;
        }
        steps.finish()?;
        let normalisation = Normalisation { mean: -mean, std: 1.0 };
        let mut models = learner.model.merged().scalar_models();
        let model = PreferenceModel::new(models.swap_remove(0), codec, normalisation);
        Ok(FittedRating { model, report })
    }

    /// The dialogues of every step of all epochs.
    fn order<'a>(&self, training: &[&'a Item], seed: u64) -> Vec<Vec<&'a Item>> {
        let mut rng = stream(item_seed(seed, &[STAGE, "order"]));
        let lengths: Vec<usize> = training.iter().map(|item| item.tokens.len()).collect();
        let epochs =
            (0..self.epochs).flat_map(|_| batches(&lengths, self.tokens_per_step, &mut rng));
        epochs.map(|batch| batch.into_iter().map(|row| training[row]).collect()).collect()
    }

    /// Everything that decides how fitting goes on.
    fn fingerprint<B: AutodiffBackend>(
        &self,
        start: &Start<B>,
        items: &Items,
        seed: u64,
    ) -> String {
        Fingerprint::default()
            .with("settings", self)
            .with("seed", &seed)
            .with("items", &items.fingerprint())
            .with("decoder", &fingerprint_of(&start.decoder))
            .with("head", &start.head.as_ref().map(fingerprint_of))
            .finish()
    }
}
