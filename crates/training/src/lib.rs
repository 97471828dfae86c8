//! What every training stage shares, without a tensor: [`batches`], a learning-rate [`Schedule`], the settings of the
//! optimiser ([`OptimizerConfig`]), [`finite`] checks and the [`Observe`] seam that metrics go through.
//!
//! ```
//! use rand::SeedableRng;
//! use training::{Observe, OptimizerConfig, Schedule, Silent, batches, finite};
//!
//! fn fit(lengths: &[usize], observe: &mut dyn Observe) -> Result<(), training::Error> {
//!     let optimizer = OptimizerConfig::default();
//!     optimizer.validate()?;
//!     let schedule = Schedule::cosine();
//!     let epoch = batches(lengths, 64, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
//!     let steps = epoch.len() as u64;
//!     observe.start("sft", steps);
//!     for (step, rows) in (0..).zip(&epoch) {
//!         let rate = optimizer.learning_rate * schedule.rate(step, steps);
//!         let loss = finite("sft", step + 1, "loss", rows.len() as f64)?;
//!         observe.record(step + 1, &[("loss", loss), ("learning_rate", rate)])?;
//!     }
//!     observe.finish()
//! }
//! fit(&[12, 30, 7, 22], &mut Silent).unwrap();
//! ```

mod batches;
mod error;
mod finite;
mod json_lines;
mod observe;
mod optimizer;
mod overlong;
mod progress;
mod schedule;

pub use batches::batches;
pub use error::Error;
pub use finite::finite;
pub use json_lines::JsonLines;
pub use observe::{Observe, Silent};
pub use optimizer::OptimizerConfig;
pub use overlong::Overlong;
pub use progress::Progress;
pub use schedule::{Decay, Schedule, WarmUp};
