//! The seams to language models: [`Generate`], [`Choose`] and [`Reward`].
//!
//! They are synchronous, batched and object-safe. The batch is the unit of concurrency: a local model packs it, a
//! client of a remote server sends it in parallel and hides its runtime. Nothing here knows tensors or sockets.
//!
//! Randomness is an argument. Every [`Prompt`] carries the seed of its own stream, made by [`item_seed`] from the seed
//! of the run and the name of the item, so that a result does not depend on batch size, order, sharding or
//! interruption. A [`Meter`] counts what a model is asked, whichever it is.

mod answer;
mod error;
mod meter;
mod sampling;
mod seams;
mod seed;

pub use answer::Answer;
pub use error::Error;
pub use meter::{Meter, Metered};
pub use sampling::{Completion, Prompt, Sampling, StopReason};
pub use seams::{Choose, Generate, Reward};
pub use seed::{item_seed, stream};
