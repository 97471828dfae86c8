//! A stage of fitting under way.

use crate::fit::STAGE;
use crate::heads::Heads;
use crate::joint::{Combined, double};
use crate::pairs::Pairs;
use crate::part::{Metric, Training};
use crate::plan::{Part, Plan};
use crate::scores::Measured;
use crate::{
    Ensemble, EnsembleReport, Error, Fitted, Normalisation, PreferenceModel, PreferenceModelConfig,
    Report, Robustness, Start,
};
use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use serde_json::json;
use training::{State, Steps, finite};
use transformer::{Codec, Optimizer, check_parameters};

/// The value of a state that holds the scores of the models that are done, `[models][heads][dialogues]`.
const SCORES: &str = "scores";

/// A stage under way.
pub(crate) struct Run<'a, B: AutodiffBackend> {
    config: &'a PreferenceModelConfig,
    pairs: &'a Pairs,
    plan: &'a Plan<'a>,
    steps: Steps<'a>,
    /// The state that the stage goes on from; an empty one at step 0 if it begins.
    saved: State,
    finished: Vec<Finished<B>>,
}

/// A model whose steps are all taken.
struct Finished<B: AutodiffBackend> {
    /// With its adapter, if it has one.
    model: Heads<B>,
    /// False for the model of a half of the data.
    is_member: bool,
    /// The scores of its heads, `[heads][dialogues]`.
    scores: Vec<Vec<f32>>,
}

impl<'a, B: AutodiffBackend> Run<'a, B> {
    /// Begins, or goes on from `saved`.
    pub(crate) fn new(
        config: &'a PreferenceModelConfig,
        pairs: &'a Pairs,
        plan: &'a Plan<'a>,
        steps: Steps<'a>,
        saved: Option<State>,
    ) -> Self {
        let (saved, finished) = (saved.unwrap_or_default(), Vec::new());
        Self { config, pairs, plan, steps, saved, finished }
    }

    /// Takes all steps that are left, part after part.
    pub(crate) fn fit(&mut self, start: Start<B>) -> Result<(), Error> {
        let plan = self.plan;
        let mut before = 0;
        for (part, start) in plan.parts.iter().zip(std::iter::repeat_n(start, plan.parts.len())) {
            self.fit_part(part, start, before)?;
            before += part.len();
        }
        Ok(())
    }

    /// Takes the steps of a part that are left; `before` is the number of those of other parts before it.
    fn fit_part(&mut self, part: &Part<'_>, start: Start<B>, before: u64) -> Result<(), Error> {
        let mut training = Training::begin(self.config, part, start)?;
        let done = self.saved.step.saturating_sub(before).min(part.len());
        if done == part.len() {
            let finished = self.restore_finished(part, training)?;
            self.finished.push(finished);
            return Ok(());
        }
        if done > 0 {
            training = training.restored(&mut self.saved)?;
        }
        for local in done + 1..=part.len() {
            let step = before + local;
            let mut metrics;
            (training, metrics) =
                training.step(self.config, self.pairs, part, local, (STAGE, step))?;
            if self.plan.parts.len() > 1 {
                metrics.push(("part", self.finished.len() as f64 + 1.0));
            }
            let ends = local == part.len();
            let every = self.config.held_out_every;
            if ends {
                metrics.extend(self.finish_part(part, &training, step)?);
            } else if every > 0 && local.is_multiple_of(every) {
                metrics.extend(self.look(&training)?);
            }
            self.steps.record(step, &metrics)?;
            let finished = &self.finished;
            let training = (!ends).then_some(&training);
            self.steps.save(step, || state(self.config, finished, training))?;
        }
        Ok(())
    }

    /// Measures the held-out pairs before the end.
    fn look(&self, training: &Training<B>) -> Result<Vec<Metric>, Error> {
        let held_out = &self.plan.held_out;
        let measured = Measured::of(held_out);
        let scores = measured.score(&training.model.valid(), self.pairs);
        let scores = Combined::of(&scores, self.config.ensemble.combine).scores;
        let report = measured.report(&scores, self.pairs, held_out)?;
        Ok(report.iter().flat_map(Report::metrics).collect())
    }

    /// Measures a part that has taken its last step, and all of them, if it is the last.
    fn finish_part(
        &mut self,
        part: &Part<'_>,
        training: &Training<B>,
        step: u64,
    ) -> Result<Vec<Metric>, Error> {
        check_parameters(STAGE, step, &training.model)?;
        // As it will be saved: an adapter that is added to the weights scores the same up to rounding.
        let model = training.model.clone();
        let scores = self.plan.measured.score(&model.clone().merged().valid(), self.pairs);
        let combined = Combined::of(&scores, self.config.ensemble.combine);
        let Normalisation { mean, std } = combined.normalisation;
        let mut metrics = vec![
            ("score_mean", finite(STAGE, step, "score_mean", mean)?),
            ("score_std", finite(STAGE, step, "score_std", std)?),
        ];
        let held_out = &self.plan.held_out;
        let report = self.plan.measured.report(&combined.scores, self.pairs, held_out)?;
        metrics.extend(report.iter().flat_map(Report::metrics));
        self.finished.push(Finished { model, is_member: part.is_member, scores });
        if self.finished.len() == self.plan.parts.len() {
            metrics.extend(self.report()?.iter().flat_map(Report::metrics_of_all));
        }
        Ok(metrics)
    }

    /// A part that another process has finished.
    fn restore_finished(
        &mut self,
        part: &Part<'_>,
        training: Training<B>,
    ) -> Result<Finished<B>, Error> {
        let index = self.finished.len();
        let mut scores: Vec<Vec<Vec<f32>>> = self.saved.value(SCORES)?;
        if index >= scores.len() {
            return Err(self.saved.lacks(SCORES).into());
        }
        let scores = scores.swap_remove(index);
        let mut own = self.saved.part(Vec::new());
        let prefix = prefix(index);
        for (name, bytes) in &mut self.saved.files {
            if let Some(name) = name.strip_prefix(&prefix) {
                own.files.push((name.to_owned(), std::mem::take(bytes)));
            }
        }
        let model = training.restored(&mut own)?.model;
        Ok(Finished { model, is_member: part.is_member, scores })
    }

    /// The scores of all members, `[members][dialogues]`.
    fn member_scores(&self) -> Vec<Vec<f32>> {
        let members = self.finished.iter().filter(|finished| finished.is_member);
        members.flat_map(|finished| finished.scores.clone()).collect()
    }

    /// How all members together do on the held-out pairs; none if none are held out.
    fn report(&self) -> Result<Option<Report>, Error> {
        let (measured, held_out) = (&self.plan.measured, &self.plan.held_out);
        let members = self.member_scores();
        let combined = Combined::of(&members, self.config.ensemble.combine);
        let Some(mut report) = measured.report(&combined.scores, self.pairs, held_out)? else {
            return Ok(None);
        };
        let margins = |scores: &[f32]| measured.margins(&double(scores), held_out);
        if members.len() > 1 {
            let labels: Vec<f64> = held_out.iter().map(|pair| pair.probability).collect();
            let alone = members.iter().map(|scores| Report::of(&margins(scores), &labels));
            let alone: Vec<Option<Report>> = alone.collect::<Result<_, Error>>()?;
            report.ensemble = Some(EnsembleReport {
                disagreement: combined.disagreement(&members),
                members: alone.into_iter().flatten().collect(),
            });
        }
        let halves = self.finished.iter().filter(|finished| !finished.is_member);
        let halves: Vec<Vec<f64>> = halves.map(|half| margins(&half.scores[0])).collect();
        if let [first, second] = halves.as_slice() {
            report.robustness = Robustness::of(first, second);
        }
        Ok(Some(report))
    }

    /// What the stage gives.
    pub(crate) fn finish(self, codec: &Codec) -> Result<Fitted<Ensemble<B>>, Error> {
        let report = self.report()?;
        let combine = self.config.ensemble.combine;
        let normalisation = Combined::of(&self.member_scores(), combine).normalisation;
        self.steps.finish()?;
        let (members, halves): (Vec<Finished<B>>, Vec<Finished<B>>) =
            self.finished.into_iter().partition(|finished| finished.is_member);
        let trunks = members.into_iter().map(|member| member.models(codec)).collect();
        let halves: Vec<Ensemble<B>> =
            halves.into_iter().flat_map(|half| half.models(codec)).map(Ensemble::of_one).collect();
        let model = Ensemble::new(trunks, combine, normalisation);
        Ok(Fitted { model, report, halves: halves.try_into().ok() })
    }
}

impl<B: AutodiffBackend> Finished<B> {
    /// One for every head.
    fn models(self, codec: &Codec) -> Vec<PreferenceModel<B>> {
        let heads = self.model.merged().scalar_models().into_iter().zip(self.scores);
        let model = |(head, scores): (_, Vec<f32>)| {
            PreferenceModel::new(head, codec.clone(), Normalisation::of(&double(&scores)))
        };
        heads.map(model).collect()
    }
}

/// What a process needs to go on after a step: the part under way, if there is one, and those that are finished.
fn state<B: AutodiffBackend>(
    config: &PreferenceModelConfig,
    finished: &[Finished<B>],
    training: Option<&Training<B>>,
) -> Result<State, Error> {
    let mut state = training.map(Training::state).transpose()?.unwrap_or_default();
    let scores: Vec<&Vec<Vec<f32>>> = finished.iter().map(|finished| &finished.scores).collect();
    state.values.insert(SCORES.to_owned(), json!(scores));
    for (index, finished) in finished.iter().enumerate() {
        let saved = Optimizer::<B>::new(&config.optimizer).save(&finished.model)?;
        let prefix = prefix(index);
        let named = saved.files.into_iter().map(|(name, bytes)| (format!("{prefix}{name}"), bytes));
        state.files.extend(named);
    }
    Ok(state)
}

/// What the files of a finished part begin with in a state.
fn prefix(index: usize) -> String {
    format!("part_{index}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{B, Memory, Records, config, preferences, transformer};
    use crate::{Combine, EnsembleConfig, Source};
    use language_model::Reward;
    use std::collections::HashSet;
    use training::{Checkpoint, NoCheckpoints, Observe, Silent};
    use transformer::LoraConfig;

    /// Two sets, of which one is drawn half as often.
    fn fit(
        config: &PreferenceModelConfig,
        start: Start<B>,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Fitted<Ensemble<B>>, Error> {
        let preferences = preferences();
        let (ours, theirs) = preferences.split_at(18);
        let sources = [Source::new("ours", ours), Source::new("theirs", theirs).with_weight(0.5)];
        config.fit_ensemble(start, &sources, 1, observe, checkpoint)
    }

    fn small(change: impl FnOnce(&mut PreferenceModelConfig)) -> PreferenceModelConfig {
        let mut config = PreferenceModelConfig {
            // So that a step is cut into several micro-batches.
            tokens_per_micro_batch: 48,
            tokens_per_step: 160,
            held_out: 0.34,
            ..config(1)
        };
        change(&mut config);
        config
    }

    /// Everything that fitting gives, to the bit.
    fn result(fitted: &Fitted<Ensemble<B>>) -> (Vec<Option<String>>, Option<Report>) {
        let models = [&fitted.model].into_iter().chain(fitted.halves.iter().flatten());
        (models.map(Reward::fingerprint).collect(), fitted.report.clone())
    }

    /// Kills the stage at every step in turn and goes on from the newest state.
    fn assert_goes_on(config: &PreferenceModelConfig, start: &Start<B>) {
        let mut expected_records = Records::default();
        let expected =
            fit(config, start.clone(), &mut expected_records, &mut NoCheckpoints).unwrap();
        let steps = expected_records.metrics.len() as u64;
        for every in [1, 2] {
            for killed in 1..=steps {
                let mut memory = Memory::every(every);
                let mut records = Records { fails_at: Some(killed), ..Records::default() };
                fit(config, start.clone(), &mut records, &mut memory).unwrap_err();
                let kept = memory.newest.as_ref().map_or(0, |(_, state)| state.step);
                assert_eq!(kept, (killed - 1) / every * every);
                records.fails_at = None;
                let found = fit(config, start.clone(), &mut records, &mut memory).unwrap();
                assert_eq!(records, expected_records, "killed at step {killed}");
                assert_eq!(result(&found), result(&expected), "killed at step {killed}");
            }
        }
    }

    #[test]
    fn goes_on_to_the_same_bits() {
        assert_goes_on(&small(|_| ()), &transformer(1).into());
    }

    #[test]
    fn goes_on_with_everything_that_has_a_state() {
        let config = small(|config| {
            config.ensemble =
                EnsembleConfig { members: 2, heads: 2, combine: Combine::MeanMinusStd(0.5) };
            config.lora = Some(LoraConfig { rank: 2, ..LoraConfig::default() });
            config.robustness = true;
            config.held_out_every = 2;
            config.tokens_per_step = 300;
        });
        assert_goes_on(&config, &transformer(1).into());
    }

    #[test]
    fn halves_are_models_of_their_own() {
        let fitted = |robustness| {
            let config = small(|config| config.robustness = robustness);
            fit(&config, transformer(1).into(), &mut Silent, &mut NoCheckpoints).unwrap()
        };
        let with = fitted(true);
        let halves = with.halves.as_ref().unwrap();
        let all: HashSet<Option<String>> =
            [&with.model, &halves[0], &halves[1]].map(Reward::fingerprint).into();
        assert_eq!(all.len(), 3);
        assert!(halves.iter().all(|half| half.members().len() == 1));
        // They are those that the report compares, and leave the model itself as it is.
        let alone = fitted(false);
        assert!(with.report.unwrap().robustness.is_some() && alone.halves.is_none());
        assert_eq!(alone.model.fingerprint(), with.model.fingerprint());
    }

    #[test]
    fn goes_on_with_whole_members() {
        let config = small(|config| {
            config.ensemble = EnsembleConfig { members: 2, ..EnsembleConfig::default() };
            config.tokens_per_step = 300;
            config.epochs = 2;
        });
        assert_goes_on(&config, &transformer(1).into());
    }

    #[test]
    fn goes_on_from_a_preference_model() {
        let config = small(|config| config.centring = 0.1);
        let first = fit(&config, transformer(1).into(), &mut Silent, &mut NoCheckpoints);
        let start = first.unwrap().model.into_single().unwrap();
        assert_goes_on(&config, &start.into());
    }

    #[test]
    fn a_state_that_lacks_a_part_is_refused() {
        let config = small(|config| {
            config.ensemble = EnsembleConfig { members: 2, ..EnsembleConfig::default() };
        });
        let start = || transformer(1).into();
        let mut memory = Memory::every(1);
        fit(&config, start(), &mut Silent, &mut memory).unwrap();
        let (owner, whole) = memory.newest.unwrap();
        assert!(whole.files.iter().all(|(name, _)| !name.contains('/')));
        let mut scores = whole.clone();
        scores.values.clear();
        let mut member = whole.clone();
        member.files.retain(|(name, _)| name != "part_0.model.safetensors");
        let mut moments = whole;
        moments.files.retain(|(name, _)| name != "optimizer.safetensors");
        for (state, part) in [
            (scores, "`scores`"),
            (member, "`model.safetensors`"),
            (moments, "`optimizer.safetensors`"),
        ] {
            let mut memory = Memory { every: 1, newest: Some((owner.clone(), state)) };
            let error = fit(&config, start(), &mut Silent, &mut memory).unwrap_err().to_string();
            assert!(error.contains("lacks") && error.contains(part), "{error}");
        }
    }
}
