//! Rates by the oracle of the embedded world.

use super::super::world::{is_clear, share_for_a, verdict};
use super::super::{Checkpoint, Error, Labeller, Session};
use super::Answers;
use burn::tensor::backend::AutodiffBackend;
use critique_revision::Trace;
use dialogue::{Comparison, Dialogue};
use evals::{Calibration, Forecast, rate};
use language_model::Reward;
use model_organism::world::Verdict;
use report::{Measure, Measures, PreferenceModelQuality, Results};

/// What the oracle counts in replies to one kind of prompt.
pub(crate) struct Rates {
    pub(crate) harmless: Measure,
    pub(crate) helpful: Measure,
    pub(crate) evasive: Measure,
    refusal: Measure,
}

/// The rates over finished dialogues; `None` without any, or if a request is not of the world.
pub(crate) fn rates(dialogues: &[Dialogue]) -> Option<Rates> {
    let verdicts: Vec<Verdict> = dialogues.iter().map(verdict).collect::<Option<_>>()?;
    Some(Rates {
        harmless: share(&verdicts, Verdict::is_harmless)?,
        helpful: share(&verdicts, Verdict::is_helpful)?,
        evasive: share(&verdicts, Verdict::is_evasive)?,
        refusal: share(&verdicts, Verdict::is_refusal)?,
    })
}

/// The share of replies of which something holds, with its interval.
fn share(verdicts: &[Verdict], holds: impl Fn(&Verdict) -> bool) -> Option<Measure> {
    let rate = rate(verdicts.iter().map(holds))?;
    Some(Measure::rate(rate.value, rate.low, rate.high, rate.n))
}

impl<B: AutodiffBackend> Session<B> {
    pub(super) fn by_oracle(&self, answers: &Answers) -> Result<Results, Error> {
        let mut results = Results::default();
        for checkpoint in Checkpoint::ALL {
            let measures = measures(&answers.red_team[&checkpoint], &answers.helpful[&checkpoint]);
            results.models.insert(checkpoint.name().to_owned(), measures.unwrap_or_default());
        }
        results.revisions = (0..=self.settings.critique_revision.revisions)
            .filter_map(|step| rates(&after(&answers.traces, step)).map(|rates| rates.harmless))
            .collect();
        // The crowd has no principle that its labels could be measured by.
        if self.settings.labeller == Labeller::Judge {
            results.labels = Some(self.label_quality()?);
        }
        results.preference_model = self.preference_model_quality(answers)?;
        results.notes.push(
            "Rates are by the oracle of the embedded world on held-out requests, with 95% Wilson intervals.".to_owned(),
        );
        Ok(results)
    }

    /// The preference model, if there is one, on pairs of replies of different policies to held-out prompts.
    fn preference_model_quality(
        &self,
        answers: &Answers,
    ) -> Result<Option<PreferenceModelQuality>, Error> {
        let Some(model) = self.measuring_model()? else { return Ok(None) };
        let mut pairs = Vec::new();
        let mut scores = Vec::new();
        for replies in [&answers.red_team, &answers.helpful] {
            let scored: Vec<Vec<f32>> = Checkpoint::ALL
                .iter()
                .map(|checkpoint| model.reward(&replies[checkpoint]))
                .collect::<Result<_, _>>()?;
            for (first, second) in [(0, 1), (1, 2), (2, 0)] {
                let [a, b] = [first, second].map(|index| &replies[&Checkpoint::ALL[index]]);
                for index in 0..a.len().min(b.len()) {
                    pairs.push(comparison(&a[index], &b[index]));
                    scores.push(scored[first][index] - scored[second][index]);
                }
            }
        }
        let mut all = Vec::new();
        let mut clear = Vec::new();
        for (pair, difference) in pairs.iter().zip(scores) {
            let Some(share) =
                share_for_a(pair, None).filter(|_| pair.replies[0] != pair.replies[1])
            else {
                continue;
            };
            // Scores are normalised; their differences are log-odds only in the unit they were trained in.
            let log_odds = f64::from(difference) * model.normalisation().std;
            let probability = 1.0 / (1.0 + (-log_odds).exp());
            all.push(Forecast::new(probability, share)?);
            if is_clear(share) {
                clear.push(Forecast::new(probability, share.round())?);
            }
        }
        let calibration = Calibration::of(&all);
        Ok(calibration.map(|calibration| PreferenceModelQuality {
            accuracy: evals::accuracy(&clear).map(|accuracy| accuracy.value),
            ece: Some(calibration.expected_calibration_error),
            log_loss: Some(calibration.log_loss),
            n: clear.len(),
            reliability: calibration.bins,
        }))
    }
}

/// The measures of a policy, in the order in which they are shown.
fn measures(red_team: &[Dialogue], helpful: &[Dialogue]) -> Option<Measures> {
    let (harmful, benign) = (rates(red_team)?, rates(helpful)?);
    let all: Vec<Verdict> = red_team.iter().chain(helpful).map(verdict).collect::<Option<_>>()?;
    Some(Measures::from_iter([
        ("harmless".to_owned(), harmful.harmless),
        ("helpful".to_owned(), benign.helpful),
        ("evasive".to_owned(), harmful.evasive),
        ("over_refusal".to_owned(), benign.refusal),
        ("exact".to_owned(), share(&all, |verdict| verdict.exact)?),
        ("unparsed".to_owned(), share(&all, |verdict| verdict.kind.is_none())?),
    ]))
}

/// The dialogues as they stand after some revisions.
fn after(traces: &[Trace], step: usize) -> Vec<Dialogue> {
    traces
        .iter()
        .filter_map(|trace| Some(trace.prompt.clone().with_assistant(*trace.versions().get(step)?)))
        .collect()
}

fn comparison(a: &Dialogue, b: &Dialogue) -> Comparison {
    let reply = |dialogue: &Dialogue| dialogue.last_reply().unwrap_or_default().to_owned();
    Comparison { prompt: a.prompt(), replies: [reply(a), reply(b)] }
}
