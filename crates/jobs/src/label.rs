//! Labels of many pairs.

use crate::about::about;
use crate::report::Figures;
use crate::stage::{Kind, Record, Stage, Tally};
use crate::{Error, Job, Prepared};
use ai_feedback::{FeedbackConfig, Judge, Label, pair_id};
use constitution::Constitution;
use dataset::Pair;
use dialogue::Comparison;
use evals::{CalibrationTally, Forecast};
use serde_json::{Value, json};
use std::ops::AddAssign;

/// Prepares to label every pair of a file by the principles of a constitution, as [`ai_feedback::label()`] does; a record
/// is a [`Label`]. The rows are those of [`dataset::Pair`]; pairs of equal replies are left out. Nothing is probed.
///
/// The whole input is read, so that what is wrong with it shows before a judge is there.
///
/// # Errors
/// If the pairs, the constitution or the settings cannot be used, or another file stands in the place of the records.
pub fn label(
    job: Job,
    constitution: Constitution,
    config: FeedbackConfig,
) -> Result<Prepared, Error> {
    config.validate()?;
    constitution.comparisons(&config.principles)?;
    // What is asked for a report alone decides no record.
    let config = FeedbackConfig { probe: 0, ..config };
    Prepared::new(job, Labelling { constitution, config })
}

pub(crate) struct Labelling {
    constitution: Constitution,
    config: FeedbackConfig,
}

impl Stage for Labelling {
    type Item = Pair;
    type Record = Label;

    const NAME: &'static str = "label";
    const KIND: Kind<Pair> = Kind {
        open: |reading, path| reading.pairs(path),
        id: |pair| pair_id(&pair.comparison),
        is_void: |pair| {
            let [a, b] = &pair.comparison.replies;
            a.trim() == b.trim()
        },
    };

    fn settings(&self) -> Result<Value, Error> {
        let constitution = about(&self.constitution)?;
        Ok(json!({ "constitution": constitution, "ai_feedback": self.config }))
    }

    fn records(&self, judge: &dyn Judge, pairs: &[Pair], seed: u64) -> Result<Vec<Label>, Error> {
        let pairs: Vec<Comparison> = pairs.iter().map(|pair| pair.comparison.clone()).collect();
        Ok(ai_feedback::label(judge, &self.constitution, &pairs, &self.config, seed)?)
    }

    fn row(pair: &Pair) -> Value {
        json!(pair)
    }

    fn truth(pair: &Pair) -> Option<f64> {
        pair.probability
    }
}

/// What labels say of their judge.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LabelTally {
    habits: ai_feedback::Tally,
    truth: CalibrationTally,
    /// Labels of which the input knows, but which were asked in one order.
    one_order: u64,
}

impl Record for Label {
    type Tally = LabelTally;

    fn id(&self) -> &str {
        &self.id
    }

    fn tally(&self, truth: Option<f64>) -> LabelTally {
        let (label, verdict_holds) = if self.probability_a >= 0.5 {
            (self.probability_a, truth)
        } else {
            (1.0 - self.probability_a, truth.map(|truth| 1.0 - truth))
        };
        // Numbers out of range do not come through the reading of rows and labels.
        let forecast = verdict_holds.and_then(|holds| Forecast::new(label, holds).ok());
        // Where the better reply is always shown first, a judge that always takes the first would be right.
        let both = self.principles.iter().all(|principle| principle.orders.len() > 1);
        let one_order = u64::from(forecast.is_some() && !both);
        let truth = forecast.filter(|_| both).into_iter().collect();
        LabelTally { habits: self.into(), truth, one_order }
    }
}

impl AddAssign for LabelTally {
    fn add_assign(&mut self, other: Self) {
        self.habits += other.habits;
        self.truth += other.truth;
        self.one_order += other.one_order;
    }
}

impl Tally for LabelTally {
    fn figures(&self) -> Figures {
        let (labels, truth) = (self.habits.summary(), self.truth.calibration());
        Figures::Labels { labels, truth, one_order: self.one_order }
    }
}
