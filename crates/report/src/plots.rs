//! The pictures of the page, as SVG inside it, and those of experiments, as files.

mod alone;
mod by_category;
mod chart;
mod curve;
mod histogram;
mod keyed;
mod reliability;
mod revisions;
mod score_by_kl;
mod trade_off;
mod ways;

pub use by_category::{ByCategory, Series};
pub use ways::{Way, Ways};

pub(crate) use chart::Plot;
pub(crate) use curve::curve;
pub(crate) use histogram::histogram;
pub(crate) use keyed::Keyed;
pub(crate) use reliability::reliability;
pub(crate) use revisions::revisions;
pub(crate) use score_by_kl::score_by_kl;
pub(crate) use trade_off::trade_off;
