//! A picture with the key to its marks.

use super::chart::Plot;
use serde::Serialize;

/// The picture and its key.
#[derive(Debug, Serialize)]
pub(crate) struct Keyed {
    pub(crate) plot: Plot,
    pub(crate) keys: Vec<Key>,
}

/// A mark of the picture and what it stands for.
#[derive(Debug, Serialize)]
pub(crate) struct Key {
    pub(crate) mark: &'static str,
    pub(crate) colour: &'static str,
    pub(crate) title: String,
}
