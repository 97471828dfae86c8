//! Preference models: a transformer with a scalar head, fitted to soft preference labels.
//!
//! The step between AI feedback and reinforcement learning in Constitutional AI (arXiv 2212.08073, section 4.1). The loss
//! is the cross-entropy of soft labels under the Bradley-Terry model ([`bradley_terry`]); a fitted [`PreferenceModel`] is a
//! [`language_model::Reward`] whose scores have mean 0 and standard deviation 1 on reference dialogues
//! ([`Normalisation`]), and a [`Report`] says how well it orders pairs, how far its probabilities can be trusted and
//! whether it goes by length. Several sets of preferences are mixed ([`Source`]), a preference model is fitted further
//! ([`Start`]), and several become one ([`Ensemble`]). [`RatingConfig`] fits the same model to ratings by least squares, such as
//! the absolute harmfulness of section 4.5.
//!
//! ```no_run
//! use burn::backend::Autodiff;
//! use burn_flex::Flex;
//! use dialogue::{Comparison, Dialogue, Preference};
//! use language_model::Reward;
//! use preference_model::{PreferenceModel, PreferenceModelConfig};
//! use training::{NoCheckpoints, Silent};
//! use transformer::Transformer;
//!
//! let device = Default::default();
//! let sl_cai = Transformer::<Autodiff<Flex>>::from_folder("models/sl_cai", &device)?;
//! let pair = Comparison {
//!     prompt: Dialogue::from_user("How do I pick a lock?"),
//!     replies: ["Ask a locksmith.".to_owned(), "Take a bent pin.".to_owned()],
//! };
//! let preferences = [Preference::from_comparison(pair, 0.9)];
//! let config = PreferenceModelConfig::default();
//! let fitted = config.fit(sl_cai, &preferences, 1, &mut Silent, &mut NoCheckpoints)?;
//! fitted.model.save("models/preference_model")?;
//!
//! let model = PreferenceModel::<Flex>::from_folder("models/preference_model", &device)?;
//! let reward = model.reward(&[preferences[0].chosen_dialogue()])?[0];
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod combine;
mod config;
mod correlation;
mod ensemble;
mod error;
mod fit;
mod folder;
mod heads;
mod histogram;
mod joint;
mod labels;
mod length;
mod loss;
mod model;
mod normalisation;
mod padding;
mod pairs;
mod part;
mod plan;
mod rating;
mod read;
mod report;
mod robustness;
mod run;
mod scores;
mod shorten;
mod source;
mod start;
mod step;
#[cfg(test)]
mod testing;

pub use combine::Combine;
pub use config::{EnsembleConfig, PreferenceModelConfig};
pub use correlation::{pearson, spearman};
pub use ensemble::Ensemble;
pub use error::Error;
pub use fit::Fitted;
pub use histogram::{Interval, histogram};
pub use labels::{Labels, smoothed};
pub use length::{LengthBucket, LengthReport, Scored};
pub use loss::{bradley_terry, bradley_terry_with_margin, centring, squared_error};
pub use model::PreferenceModel;
pub use normalisation::Normalisation;
pub use rating::{FittedRating, RatingConfig, RatingReport};
pub use report::{EnsembleReport, Report, SourceReport};
pub use robustness::Robustness;
pub use source::Source;
pub use start::Start;
