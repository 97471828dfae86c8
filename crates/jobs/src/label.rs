//! Labels of many pairs.

use crate::about::about;
use crate::forecast::forecast;
use crate::report::Figures;
use crate::shard::hash;
use crate::stage::{Kind, Record, Stage, Tally};
use crate::{Error, Job, Prepared};
use ai_feedback::{FeedbackConfig, Judge, Label, pair_id, probe_beside};
use constitution::Constitution;
use dataset::Pair;
use dialogue::Comparison;
use evals::CalibrationTally;
use serde_json::{Value, json};
use std::ops::AddAssign;

/// Prepares to label every pair of a file by the principles of a constitution, as [`ai_feedback::label()`] does; a record
/// is a [`Label`]. The rows are those of [`dataset::Pair`]; pairs of equal replies are left out.
///
/// About [`FeedbackConfig::probe`] pairs of the whole input, drawn by a hash of each, so that they are the same in whatever
/// shards and after whatever kills, are also asked about as [`ai_feedback::probe_beside`] does. What the judge refuses of
/// that is left out.
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
    Prepared::new(job, Labelling { constitution, config, items: 0 })
}

pub(crate) struct Labelling {
    constitution: Constitution,
    config: FeedbackConfig,
    /// Items of the whole input.
    items: u64,
}

impl Labelling {
    /// Whether the pair of this name is asked about once more: a share of `probe / items` of the hashes is below the bound.
    fn is_probed(&self, id: &str) -> bool {
        u128::from(hash("probe:", id)) * u128::from(self.items) < (self.config.probe as u128) << 64
    }

    /// Asks about the chosen ones of `labels` once more.
    fn probe(&self, judge: &dyn Judge, labels: &mut [Label], seed: u64) -> Result<(), Error> {
        let alone = labels.len() == 1;
        let mut chosen: Vec<&mut Label> =
            labels.iter_mut().filter(|label| self.is_probed(&label.id)).collect();
        let asked = probe_beside(judge, &self.constitution, &mut chosen, &self.config, seed);
        match asked.map_err(Error::from) {
            // The pair has its label. Of several it is not known which is meant: they are tried apart.
            Err(error) if alone && error.refusal().is_some() => Ok(()),
            asked => asked,
        }
    }
}

impl Stage for Labelling {
    type Item = Pair;
    type Record = Label;

    const NAME: &'static str = "label";
    const KIND: Kind<Pair> = Kind {
        open: |reading, path| reading.pairs(path),
        id: |pair| pair_id(&pair.comparison),
        is_void: |pair| pair.comparison.is_even(),
    };

    fn sized(&mut self, items: u64) {
        self.items = items;
    }

    fn settings(&self) -> Result<Value, Error> {
        let constitution = about(&self.constitution)?;
        Ok(json!({ "constitution": constitution, "ai_feedback": self.config }))
    }

    fn records(
        &self,
        judge: &dyn Judge,
        pairs: &[Pair],
        seed: u64,
    ) -> Result<Vec<Result<Label, String>>, Error> {
        let pairs: Vec<Comparison> = pairs.iter().map(|pair| pair.comparison.clone()).collect();
        let mut labels = ai_feedback::label(judge, &self.constitution, &pairs, &self.config, seed)?;
        self.probe(judge, &mut labels, seed)?;
        Ok(labels.into_iter().map(Ok).collect())
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
    /// Labels whose pair was asked about once more.
    probed: u64,
}

impl Record for Label {
    type Tally = LabelTally;

    fn id(&self) -> &str {
        &self.id
    }

    fn tally(&self, truth: Option<f64>) -> LabelTally {
        // Numbers out of range do not come through the reading of rows and labels.
        let compared = truth.and_then(|truth| forecast(self, truth).ok());
        let one_order = u64::from(compared == Some(None));
        let truth = compared.flatten().into_iter().collect();
        let probed = u64::from(self.principles.iter().any(|judged| judged.probe));
        LabelTally { habits: self.into(), truth, one_order, probed }
    }
}

impl AddAssign for LabelTally {
    fn add_assign(&mut self, other: Self) {
        self.habits += other.habits;
        self.truth += other.truth;
        self.one_order += other.one_order;
        self.probed += other.probed;
    }
}

impl Tally for LabelTally {
    fn figures(&self) -> Figures {
        let (labels, truth) = (self.habits.summary(), self.truth.calibration());
        Figures::Labels { labels, probed: self.probed, truth, one_order: self.one_order }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dialogue::Dialogue;
    use language_model::{Choose, Completion, Error as ModelError, Generate, Prompt, Sampling};

    fn labelling(probe: usize, items: u64) -> Labelling {
        let text = "name = 'two'\n[[comparison]]\nid = 'long'\ntext = 'Be long.'\n\
                    [[comparison]]\nid = 'short'\ntext = 'Be short.'\n";
        let constitution = Constitution::from_toml(text).unwrap();
        let config = FeedbackConfig { probe, ..FeedbackConfig::default() };
        Labelling { constitution, config, items }
    }

    #[test]
    fn about_as_many_pairs_are_probed_as_are_asked_for() {
        let names: Vec<String> = (0..10_000).map(|item| format!("{item:016x}")).collect();
        let probed = |probe| {
            let labelling = labelling(probe, 10_000);
            names.iter().filter(|name| labelling.is_probed(name)).collect::<Vec<_>>()
        };
        // Four standard deviations of a binomial: 4 sqrt(10000 x 0.03 x 0.97) = 68.
        let some = probed(300);
        assert!((232..=368).contains(&some.len()), "{}", some.len());
        // More are more of the same, and they are spread over the shards.
        let more = probed(600);
        assert!(some.iter().all(|name| more.contains(name)));
        let even = some.iter().filter(|name| crate::shard::key(name).is_multiple_of(2)).count();
        assert!((some.len() / 3..=2 * some.len() / 3).contains(&even), "{even}");
        assert_eq!((probed(0).len(), probed(10_000).len()), (0, 10_000));
        assert_eq!(probed(usize::MAX).len(), 10_000);
    }

    /// Refuses every question about being short.
    struct Verbose;

    impl Choose for Verbose {
        fn choose(&self, prompts: &[Dialogue], _: &[&str]) -> Result<Vec<Vec<f64>>, ModelError> {
            let is_short = |prompt: &Dialogue| prompt.messages[0].content.contains("Be short.");
            if prompts.iter().any(is_short) {
                return Err(ModelError::Refused("never".into()));
            }
            Ok(vec![vec![0.9, 0.1]; prompts.len()])
        }
    }

    impl Generate for Verbose {
        fn generate(&self, _: &[Prompt], _: &Sampling) -> Result<Vec<Completion>, ModelError> {
            unreachable!("no rationale is asked for")
        }
    }

    #[test]
    fn a_label_stands_although_its_probe_is_refused() {
        let pair = |number: usize| Pair {
            comparison: Comparison {
                prompt: Dialogue::from_user(format!("q{number}")),
                replies: ["a".to_owned(), "b".to_owned()],
            },
            probability: None,
        };
        let labelling = labelling(32, 32);
        let found: Vec<_> =
            (0..32).map(|number| labelling.records(&Verbose, &[pair(number)], 1)).collect();
        let labels: Vec<&Label> = found.iter().flatten().flatten().flatten().collect();
        // By which of the two principles a pair is judged is a matter of luck; the other one is its probe.
        assert!((4..=28).contains(&labels.len()), "{}", labels.len());
        assert!(labels.iter().all(|label| label.principles.len() == 1));
        let mut refused = found.iter().filter_map(|found| found.as_ref().err());
        assert!(refused.all(|error| error.refusal().as_deref() == Some("never")));
    }
}
