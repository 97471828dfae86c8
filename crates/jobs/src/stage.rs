//! What is done with a kind of item.

use crate::Error;
use crate::report::Figures;
use ai_feedback::Judge;
use dataset::{Reading, Rows};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::ops::AddAssign;
use std::path::Path;

/// How a kind of item is read and named.
pub(crate) struct Kind<I> {
    pub(crate) open: fn(&Reading, &Path) -> Result<Rows<I>, dataset::Error>,
    pub(crate) id: fn(&I) -> String,
    /// Whether there is nothing to do to it, so that it is no item.
    pub(crate) is_void: fn(&I) -> bool,
}

/// What is done with a kind of item.
pub(crate) trait Stage: Send + Sync {
    type Item: Send;
    type Record: Record;

    /// Its name in `OUT.job`.
    const NAME: &'static str;
    const KIND: Kind<Self::Item>;

    /// Is told how many items the whole input has, before anything is done.
    fn sized(&mut self, items: u64) {
        let _ = items;
    }

    /// The settings that decide the records.
    fn settings(&self) -> Result<Value, Error>;

    /// One record an item, in order, or what is wrong with what the model says to the item alone. What comes out for an item
    /// depends on no other.
    fn records(
        &self,
        model: &dyn Judge,
        items: &[Self::Item],
        seed: u64,
    ) -> Result<Vec<Result<Self::Record, String>>, Error>;

    /// An item as a row that the stage reads.
    fn row(item: &Self::Item) -> Value;

    /// What the input says of the probability that a record gives.
    fn truth(item: &Self::Item) -> Option<f64> {
        let _ = item;
        None
    }
}

/// What comes of an item.
pub(crate) trait Record: Serialize + DeserializeOwned {
    type Tally: Tally;

    /// The name of its item.
    fn id(&self) -> &str;

    /// What it adds to the report.
    fn tally(&self, truth: Option<f64>) -> Self::Tally;
}

/// What a report is made of: records are added one by one, so that none need be kept.
pub(crate) trait Tally: Default + AddAssign + Send {
    fn figures(&self) -> Figures;
}

/// What the report of a stage is made of.
pub(crate) type TallyOf<S> = <<S as Stage>::Record as Record>::Tally;
