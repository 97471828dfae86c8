//! Experiments of the paper over the embedded world, each ending in a table and a plot with intervals over several seeds.
//!
//! An [`Experiment`] has arms, and every arm is an ordinary run for each seed, in a folder of its own. So arms that several
//! experiments share are computed once, a killed experiment goes on where it stopped, and every number can be traced to a
//! run. Only the stages that are measured are run.
//!
//! | file | holds |
//! |---|---|
//! | `runs/experiments/RECIPE-seedN/` | a run folder |
//! | `runs/experiments/NAME.json` | a [`report::Experiment`]: every number of every run, and the means over the seeds |
//! | `runs/experiments/NAME.md` | the table, with its command |
//! | `runs/experiments/NAME.svg` | the plot |

mod arms;
mod experiment;
mod observe;
mod picture;
mod plan;
mod recipe;
mod shared;
mod write;

pub use experiment::{Experiment, UnknownExperiment};
pub use plan::{LEAST_SEEDS, Plan};

use recipe::Recipe;
