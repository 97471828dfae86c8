//! What every training stage shares, without a tensor: the shape of its loop ([`Steps`]), [`batches`], [`groups`] that no
//! split parts, a learning-rate [`Schedule`], the settings of the optimiser ([`OptimizerConfig`]), [`finite`] checks, the
//! [`Observe`] seam that metrics go through ([`Progress`], [`JsonLines`], [`LinesBeside`], [`TensorBoard`]) and the
//! [`Checkpoint`] seam that lets a stage survive a crash ([`Checkpoints`]).
//!
//! ```
//! use rand::SeedableRng;
//! use training::{Checkpoint, Error, NoCheckpoints, Observe, OptimizerConfig, Schedule, Silent, Steps, batches, finite};
//!
//! fn fit(lengths: &[usize], observe: &mut dyn Observe, keep: &mut dyn Checkpoint) -> Result<(), Error> {
//!     let optimizer = OptimizerConfig::default();
//!     optimizer.validate()?;
//!     let schedule = Schedule::cosine();
//!     let epoch = batches(lengths, 64, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
//!     let all = epoch.len() as u64;
//!     let (mut steps, _) = Steps::begin("sft", all, String::new, observe, keep)?;
//!     for (step, rows) in steps.left().zip(&epoch) {
//!         let rate = optimizer.learning_rate * schedule.rate(step - 1, all);
//!         let loss = finite("sft", step, "loss", rows.len() as f64)?;
//!         steps.record(step, &[("loss", loss), ("learning_rate", rate)])?;
//!     }
//!     steps.finish()
//! }
//! fit(&[12, 30, 7, 22], &mut Silent, &mut NoCheckpoints).unwrap();
//! ```

mod batches;
mod checkpoint;
mod checkpoint_config;
mod durable;
mod error;
mod events;
mod fingerprint;
mod finite;
mod groups;
mod json_lines;
mod line_file;
mod lines_beside;
mod observe;
mod optimizer;
mod overlong;
mod planned;
mod progress;
mod progress_bar;
mod recorded;
mod schedule;
mod state_folder;
mod steps;
mod store;
mod tensor_board;

pub use batches::{batches, cut};
pub use checkpoint::{Checkpoint, NoCheckpoints, Owner, State};
pub use checkpoint_config::{CheckpointConfig, Every};
pub use error::Error;
pub use fingerprint::Fingerprint;
pub use finite::finite;
pub use groups::groups;
pub use json_lines::JsonLines;
pub use lines_beside::LinesBeside;
pub use observe::{Observe, Silent, start_stage};
pub use optimizer::{OptimizerConfig, ParameterGroup};
pub use overlong::Overlong;
pub use planned::{HIGHEST_WEIGHT, MOST_EPOCHS, check_planned};
pub use progress::Progress;
pub use schedule::{Decay, Schedule, WarmUp};
pub use steps::Steps;
pub use store::Checkpoints;
pub use tensor_board::TensorBoard;
