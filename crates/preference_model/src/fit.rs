//! Fitting preference models.

use crate::model::PREFERENCES;
use crate::pairs::Pairs;
use crate::plan::Plan;
use crate::run::Run;
use crate::{Ensemble, Error, PreferenceModel, PreferenceModelConfig, Report, Source, Start};
use burn::tensor::backend::AutodiffBackend;
use dialogue::Preference;
use std::collections::HashSet;
use training::{Checkpoint, Fingerprint, Observe, Steps};
use transformer::fingerprint_of;

/// The name of the stage in records, errors and random streams.
pub(crate) const STAGE: &str = "preference_model";

/// What fitting gives.
#[derive(Debug, Clone)]
pub struct Fitted<M> {
    /// The model.
    pub model: M,
    /// How it does on the pairs that were held out; none if none were.
    pub report: Option<Report>,
    /// With `robustness` the models of two halves of the data, which share no prompt: a policy that learns from one may be
    /// watched by the other.
    pub halves: Option<[M; 2]>,
}

impl PreferenceModelConfig {
    /// Fits a model to preferences: the trunk of a language model and a fresh head, or a preference model further.
    ///
    /// A share of the prompts, at least one, is held out and measures the model at the end; prompts that are one as they
    /// came, or as the model sees them once they lack their oldest turns, count as one. Both dialogues of a pair go through
    /// the model in one micro-batch, and the pairs of a step are a random sample. Pairs whose replies are the same are left
    /// out.
    ///
    /// Every step records `loss` (nats a pair, before the update, with margin, smoothing and centring), `accuracy` (share of
    /// the pairs with a label other than 0.5 that the scores order as the label does, ties being wrong; absent if there is
    /// none), `margin`, `chosen_score` and `rejected_score` (means), `learning_rate`, `gradient_norm` (before clipping),
    /// `pairs`, `tokens`, `overlong` (pairs left out), `shortened` (pairs without their oldest turns) and `identical` (pairs
    /// left out). The last step adds `score_mean` and `score_std`, and if pairs are held out `held_out_pairs`,
    /// `held_out_accuracy`, `held_out_log_loss`, `held_out_label_entropy`, `held_out_calibration_error`, `held_out_margin` and
    /// `held_out_length_correlation`, which `held_out_every` adds now and then before; see [`Report`].
    ///
    /// If several models are fitted, one after the other, `part` counts them from 1, the last step of each adds the above
    /// for itself, and that of the last adds `ensemble_accuracy`, `ensemble_log_loss` and `ensemble_disagreement`, or
    /// `robustness_agreement` and `robustness_correlation`.
    ///
    /// The state that `checkpoint` is given holds the parameters that learn, the moments of the optimiser and what models
    /// that are done have found; a process that goes on from it ends in the same bits. The weights of the result ask for no
    /// gradients.
    ///
    /// # Errors
    /// If a setting is out of range or asks for several scores, a dialogue cannot be rendered, a label is no
    /// probability, no pair is left, `held_out` or `robustness` ask for more prompts than there are, the loss or the
    /// gradient is not finite, or a record or state cannot be written or read.
    ///
    /// # References
    /// Constitutional AI (arXiv 2212.08073), section 4.1. The head is that of arXiv 2009.01325, the normalisation that of
    /// arXiv 1909.08593.
    pub fn fit<B: AutodiffBackend>(
        &self,
        start: impl Into<Start<B>>,
        preferences: &[Preference],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Fitted<PreferenceModel<B>>, Error> {
        let sources = [Source::new(PREFERENCES, preferences)];
        self.fit_mixture(start, &sources, seed, observe, checkpoint)
    }

    /// As [`PreferenceModelConfig::fit`], to several sets of preferences together, each drawn as its weight says.
    ///
    /// A prompt that several sets share is held out of all of them or of none; every set has a report of its own.
    ///
    /// # Errors
    /// Those of [`PreferenceModelConfig::fit`], or [`Error::Source`] if two sets have one name, or a weight or margin cannot
    /// be.
    pub fn fit_mixture<B: AutodiffBackend>(
        &self,
        start: impl Into<Start<B>>,
        sources: &[Source<'_>],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Fitted<PreferenceModel<B>>, Error> {
        let scores = self.ensemble.members.saturating_mul(self.ensemble.heads);
        if scores > 1 {
            return Err(Error::SeveralScores { scores });
        }
        let Fitted { model, report, halves } =
            self.fit_ensemble(start, sources, seed, observe, checkpoint)?;
        let halves = match halves {
            Some([first, second]) => Some([first.into_single()?, second.into_single()?]),
            None => None,
        };
        Ok(Fitted { model: model.into_single()?, report, halves })
    }

    /// As [`PreferenceModelConfig::fit_mixture`], with as many scores as the settings say.
    ///
    /// The members see the same training pairs, each in an order of its own, and are measured on the same held-out pairs.
    /// The first is the model that would be fitted alone.
    ///
    /// # Errors
    /// Those of [`PreferenceModelConfig::fit_mixture`], but that there may be several scores; several heads of a model that
    /// has one already are refused, since they would stay alike.
    pub fn fit_ensemble<B: AutodiffBackend>(
        &self,
        start: impl Into<Start<B>>,
        sources: &[Source<'_>],
        seed: u64,
        observe: &mut dyn Observe,
        checkpoint: &mut dyn Checkpoint,
    ) -> Result<Fitted<Ensemble<B>>, Error> {
        self.validate()?;
        let start = start.into();
        self.validate_start(&start)?;
        let weights = self.weights_of(sources)?;
        let pairs = Pairs::new(&start.codec, start.decoder.config(), sources, self.overlong)?;
        let plan = Plan::new(self, &pairs, &weights, seed)?;
        let codec = start.codec.clone();
        let fingerprint = || self.fingerprint(&start, &pairs, &weights, seed);
        let (steps, saved) = Steps::begin(STAGE, plan.steps(), fingerprint, observe, checkpoint)?;
        let mut run = Run::new(self, &pairs, &plan, steps, saved);
        run.fit(start)?;
        run.finish(&codec)
    }

    fn validate_start<B: AutodiffBackend>(&self, start: &Start<B>) -> Result<(), Error> {
        if start.head.is_some() && self.ensemble.heads > 1 {
            let (setting, found) = ("ensemble.heads", self.ensemble.heads.to_string());
            let expected = "1 where a preference model is fitted further with its head";
            return Err(training::Error::Setting { setting, found, expected }.into());
        }
        if let Some(lora) = &self.lora {
            lora.validate(start.decoder.config())?;
        }
        Ok(())
    }

    /// The weight of every set: that of the settings, or its own.
    fn weights_of(&self, sources: &[Source<'_>]) -> Result<Vec<f64>, Error> {
        let mut names = HashSet::new();
        for source in sources {
            source.validate()?;
            if !names.insert(source.name) {
                let name = source.name.to_owned();
                let (found, expected) = ("that of two sets".to_owned(), "one of its own for each");
                return Err(Error::Source { name, key: "name", found, expected });
            }
        }
        let all: Vec<&str> = sources.iter().map(|source| source.name).collect();
        self.validate_sources(&all)?;
        let weight = |source: &Source<'_>| self.weights.get(source.name).copied();
        Ok(sources.iter().map(|source| weight(source).unwrap_or(source.weight)).collect())
    }

    /// Everything that decides how fitting goes on.
    fn fingerprint<B: AutodiffBackend>(
        &self,
        start: &Start<B>,
        pairs: &Pairs,
        weights: &[f64],
        seed: u64,
    ) -> String {
        let head = start.head.as_ref().map(fingerprint_of);
        Fingerprint::default()
            .with("settings", self)
            .with("seed", &seed)
            .with("pairs", &pairs.fingerprint())
            .with("weights", &weights)
            .with("decoder", &fingerprint_of(&start.decoder))
            .with("head", &head)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        B, Records, codec, config, different, preference, preferences, transformer,
    };
    use crate::{Combine, EnsembleConfig, Labels};
    use burn_flex::FlexDevice;
    use dialogue::Dialogue;
    use language_model::Reward;
    use training::{NoCheckpoints, ParameterGroup, Silent};
    use transformer::{Architecture, LoraConfig, Weights};

    fn fit(
        config: &PreferenceModelConfig,
        start: impl Into<Start<B>>,
        preferences: &[Preference],
    ) -> Fitted<PreferenceModel<B>> {
        config.fit(start, preferences, 1, &mut Silent, &mut NoCheckpoints).unwrap()
    }

    fn refused(config: &PreferenceModelConfig, sources: &[Source<'_>]) -> Error {
        config.fit_mixture(transformer(1), sources, 1, &mut Silent, &mut NoCheckpoints).unwrap_err()
    }

    fn weights(model: &PreferenceModel<B>) -> Weights {
        model.scalar_model().decoder().weights()
    }

    #[test]
    fn learns_what_is_preferred() {
        let mut records = Records::default();
        let fitted = config(10)
            .fit(transformer(1), &preferences(), 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        let steps = records.metrics.len();
        assert_eq!(records.started, Some(("preference_model".to_owned(), steps as u64)));
        assert!(records.steps.iter().copied().eq(1..=steps as u64) && records.finished);
        let first = records.metric(0, "loss");
        assert!(first > 0.6, "{first}");
        let last = |name| records.metric(steps - 1, name);
        // One prompt of six is held out; labels of 0.9 on average leave an entropy of 0.31.
        assert!((last("held_out_pairs") - 6.0).abs() < 1e-9);
        assert!((last("held_out_accuracy") - 1.0).abs() < 1e-9);
        assert!(last("held_out_log_loss") < last("held_out_label_entropy") + 0.1);
        assert!(last("held_out_calibration_error") < 0.15);
        assert!(last("loss") < 0.5 && last("accuracy") > 0.99 && last("margin") > 1.0);
        let difference = last("chosen_score") - last("rejected_score");
        assert!((difference - last("margin")).abs() < 1e-5);
        assert!(records.metrics.iter().flatten().all(|(name, _)| name != "part"));

        let report = fitted.report.unwrap();
        assert_eq!(report.pairs, 6);
        assert!((report.log_loss - last("held_out_log_loss")).abs() < 1e-12);
        // Bad replies are one token longer than good ones.
        let length = report.length.unwrap();
        assert!(length.pearson.unwrap() < -0.8, "{length:?}");
        assert!(length.longer_wins_by_model.unwrap().value < 0.1, "{length:?}");
        assert!(report.sources.is_empty() && report.ensemble.is_none());

        let replies = ["r good", "r bad a"].map(|r| Dialogue::from_user("q").with_assistant(r));
        let rewards = fitted.model.reward(&replies).unwrap();
        assert!(rewards[0] > rewards[1] + 1.0, "{rewards:?}");
        let report = fitted.model.evaluate(&preferences()).unwrap();
        assert!((report.accuracy.unwrap().value - 1.0).abs() < 1e-9 && report.pairs == 36);
    }

    #[test]
    fn rewards_of_the_reference_have_mean_0_and_standard_deviation_1() {
        let preferences = preferences();
        let model = fit(&config(1), transformer(1), &preferences).model;
        let both = |preference: &Preference| {
            [preference.chosen_dialogue(), preference.rejected_dialogue()]
        };
        let dialogues: Vec<Dialogue> = preferences.iter().flat_map(both).collect();
        let rewards = model.reward(&dialogues).unwrap();
        let count = rewards.len() as f32;
        let mean = rewards.iter().sum::<f32>() / count;
        let square = rewards.iter().map(|reward| reward * reward).sum::<f32>() / count;
        assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
    }

    #[test]
    fn the_seed_decides_the_result() {
        let score = |seed| {
            let fitted = config(1)
                .fit(transformer(1), &preferences(), seed, &mut Silent, &mut NoCheckpoints)
                .unwrap();
            fitted.model.normalisation().mean.to_bits()
        };
        assert_eq!(score(1), score(1));
        assert_ne!(score(1), score(2));
    }

    #[test]
    fn looks_at_the_held_out_pairs_now_and_then() {
        let config = PreferenceModelConfig { held_out_every: 3, ..config(1) };
        let mut records = Records::default();
        config.fit(transformer(1), &preferences(), 1, &mut records, &mut NoCheckpoints).unwrap();
        let steps = records.metrics.len();
        assert!(steps > 3, "{steps}");
        for (step, metrics) in (1..).zip(&records.metrics) {
            let found = metrics.iter().any(|(name, _)| name == "held_out_log_loss");
            assert_eq!(found, step % 3 == 0 || step == steps, "step {step}");
        }
    }

    #[test]
    fn tokens_are_those_that_somebody_said() {
        // Six and nine.
        let preferences = [preference("q", "a", "b c d a", 0.9)];
        let mut records = Records::default();
        let config = PreferenceModelConfig { held_out: 0.0, ..config(1) };
        config.fit(transformer(1), &preferences, 1, &mut records, &mut NoCheckpoints).unwrap();
        assert!((records.metric(0, "tokens") - 15.0).abs() < 1e-9);
    }

    #[test]
    fn sets_are_drawn_by_their_weights_and_measured_alone() {
        let all = preferences();
        let (ours, theirs) = all.split_at(18);
        let sources = [Source::new("ours", ours), Source::new("theirs", theirs)];
        let pairs = |config: &PreferenceModelConfig, sources: &[Source<'_>]| {
            let mut records = Records::default();
            let fitted = config
                .fit_mixture(transformer(1), sources, 1, &mut records, &mut NoCheckpoints)
                .unwrap();
            let steps = 0..records.metrics.len();
            (steps.map(|step| records.metric(step, "pairs")).sum::<f64>(), fitted)
        };
        let half = PreferenceModelConfig { held_out: 0.34, ..config(1) };
        let (together, fitted) = pairs(&half, &sources);
        let report = fitted.report.unwrap();
        let names: Vec<&str> = report.sources.iter().map(|source| source.name.as_str()).collect();
        let counts: usize = report.sources.iter().map(|source| source.report.pairs).sum();
        assert!(!names.is_empty() && counts == report.pairs, "{names:?}");
        assert!((together - 36.0 + report.pairs as f64).abs() < 1e-9);

        // A weight of the settings goes before that of the set.
        let mut weighted = half.clone();
        weighted.weights.insert("theirs".to_owned(), 0.0);
        let (alone, _) = pairs(&weighted, &[sources[0].with_weight(3.0), sources[1]]);
        let own = report.sources.iter().filter(|source| source.name == "ours");
        let held_out: usize = own.map(|source| source.report.pairs).sum();
        assert!((alone - 3.0 * (18.0 - held_out as f64)).abs() < 1e-9, "{alone}");

        // Put together they are what one set of both is.
        let whole = fit(&half, transformer(1), &all).model;
        assert!(different(&weights(&whole), &weights(&fitted.model)).is_empty());
    }

    #[test]
    fn labels_margin_smoothing_and_centring_change_what_is_learnt() {
        let plain = fit(&config(1), transformer(1), &preferences()).model;
        let changes: [fn(&mut PreferenceModelConfig); 5] = [
            |config| config.labels = Labels::Hard,
            |config| config.labels = Labels::Clamped([0.4, 0.6]),
            |config| config.label_smoothing = 0.1,
            |config| config.margin = 1.0,
            |config| config.centring = 0.1,
        ];
        for change in changes {
            let mut config = config(1);
            change(&mut config);
            let changed = fit(&config, transformer(1), &preferences()).model;
            assert!(!different(&weights(&plain), &weights(&changed)).is_empty(), "{config:?}");
        }
    }

    #[test]
    fn centring_brings_the_mean_of_the_scores_to_0() {
        let mean = |centring| {
            let config = PreferenceModelConfig { centring, ..config(6) };
            fit(&config, transformer(1), &preferences()).model.normalisation().mean.abs()
        };
        let (free, centred) = (mean(0.0), mean(0.3));
        assert!(centred < 0.1 && centred < 0.5 * free, "{free} {centred}");
    }

    #[test]
    fn a_preference_model_is_fitted_further_from_where_it_stands() {
        let all = preferences();
        let (first, second) = all.split_at(18);
        let pretrained = fit(&config(4), transformer(1), first).model;
        // At a rate that moves nothing, trunk and head are those of the first fit.
        let mut still = config(1);
        still.optimizer.learning_rate = 1e-30;
        let further = fit(&still, pretrained.clone(), second).model;
        assert!(different(&weights(&pretrained), &weights(&further)).is_empty());
        let head = |model: &PreferenceModel<B>| {
            model.scalar_model().head().weight().into_data().to_vec::<f32>().unwrap()
        };
        assert_eq!(head(&pretrained), head(&further));
        // And it starts better than one that has seen nothing, and learns.
        let loss = |start: Start<B>| {
            let mut records = Records::default();
            config(1).fit(start, second, 1, &mut records, &mut NoCheckpoints).unwrap();
            records.metric(0, "loss")
        };
        let (fresh, warm) = (loss(transformer(1).into()), loss(pretrained.clone().into()));
        assert!(warm < fresh - 0.2, "{fresh} {warm}");
        let moved = fit(&config(1), pretrained.clone(), second).model;
        assert!(!different(&weights(&pretrained), &weights(&moved)).is_empty());
        assert_ne!(head(&pretrained), head(&moved));
    }

    #[test]
    fn an_adapter_learns_beside_a_base_that_stays() {
        let lora = LoraConfig {
            rank: 1,
            target_modules: vec!["q_proj".to_owned()],
            ..LoraConfig::default()
        };
        let config = PreferenceModelConfig { lora: Some(lora), ..config(10) };
        let base = transformer(1);
        let before = base.decoder.clone().with_architecture(Architecture::Score).weights();
        let fitted = fit(&config, base, &preferences());
        let model = fitted.model;
        assert!((fitted.report.unwrap().accuracy.unwrap().value - 1.0).abs() < 1e-9);
        let after = weights(&model);
        let moved = different(&before, &after);
        let expected = [0, 1].map(|layer| format!("model.layers.{layer}.self_attn.q_proj.weight"));
        assert_eq!(moved, expected);
        // What is added to a map has the rank of the adapter: every minor of two by two vanishes.
        let (before, after) = (before.get(&moved[0]).unwrap(), after.get(&moved[0]).unwrap());
        let added: Vec<f64> = before
            .data
            .iter()
            .zip(&after.data)
            .map(|(before, after)| f64::from(after - before))
            .collect();
        let at = |row: usize, column: usize| added[row * 16 + column];
        let largest = added.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        for (row, column) in [(0, 0), (3, 7), (9, 2), (14, 14)] {
            let minor = at(row, column) * at(row + 1, column + 1)
                - at(row, column + 1) * at(row + 1, column);
            assert!(minor.abs() < 1e-3 * largest.powi(2), "{minor} {largest}");
        }
        // The folder is a plain one.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        model.save(&path).unwrap();
        let read = PreferenceModel::<B>::from_folder(&path, &FlexDevice).unwrap();
        let replies = ["a good", "a bad"].map(|r| Dialogue::from_user("q").with_assistant(r));
        assert_eq!(read.reward(&replies).unwrap(), model.reward(&replies).unwrap());
        assert!(read.scalar_model().decoder().adapter().is_none());
    }

    #[test]
    fn the_first_member_is_the_model_that_would_be_fitted_alone() {
        let alone = fit(&config(2), transformer(1), &preferences()).model;
        let ensemble = EnsembleConfig { members: 2, heads: 1, combine: Combine::Minimum };
        let config = PreferenceModelConfig { ensemble, robustness: true, ..config(2) };
        let mut records = Records::default();
        let preferences = preferences();
        let sources = [Source::new("set", &preferences)];
        let fitted = config
            .fit_ensemble(transformer(1), &sources, 1, &mut records, &mut NoCheckpoints)
            .unwrap();
        let members = fitted.model.members();
        assert_eq!(members.len(), 2);
        assert!(different(&weights(&alone), &weights(&members[0])).is_empty());
        assert_eq!(alone.normalisation(), members[0].normalisation());
        assert!(!different(&weights(&alone), &weights(&members[1])).is_empty());

        let report = fitted.report.unwrap();
        let together = report.ensemble.as_ref().unwrap();
        assert!(together.members.len() == 2 && together.disagreement > 0.0);
        let robustness = report.robustness.unwrap();
        assert!(robustness.pairs == 6 && robustness.agreement.value > 0.9, "{robustness:?}");
        let last = records.metrics.len() - 1;
        let metric = |name| records.metric(last, name);
        assert!((metric("ensemble_disagreement") - together.disagreement).abs() < 1e-12);
        assert!((metric("ensemble_log_loss") - report.log_loss).abs() < 1e-12);
        assert!((metric("robustness_agreement") - robustness.agreement.value).abs() < 1e-12);
        assert!((metric("part") - 4.0).abs() < 1e-12);

        // The rewards of the ensemble have the scale of those of one model.
        let both = |preference: &Preference| {
            [preference.chosen_dialogue(), preference.rejected_dialogue()]
        };
        let dialogues: Vec<Dialogue> = preferences.iter().flat_map(both).collect();
        let rewards = fitted.model.reward(&dialogues).unwrap();
        let mean = rewards.iter().sum::<f32>() / 72.0;
        let square = rewards.iter().map(|reward| reward * reward).sum::<f32>() / 72.0;
        assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
        // And its report is that of its scores.
        let own = fitted.model.evaluate(&preferences).unwrap();
        assert!((own.accuracy.unwrap().value - 1.0).abs() < 1e-9);
    }

    #[test]
    fn heads_share_a_trunk() {
        let ensemble = EnsembleConfig { heads: 3, ..EnsembleConfig::default() };
        let config = PreferenceModelConfig { ensemble, ..config(3) };
        let preferences = preferences();
        let sources = [Source::new("set", &preferences)];
        let fitted = config
            .fit_ensemble(transformer(1), &sources, 1, &mut Silent, &mut NoCheckpoints)
            .unwrap();
        let members = fitted.model.members();
        assert_eq!(members.len(), 3);
        for member in &members[1..] {
            assert!(different(&weights(&members[0]), &weights(member)).is_empty());
            assert_ne!(members[0].normalisation(), member.normalisation());
        }
        let error = config.fit(transformer(1), &preferences, 1, &mut Silent, &mut NoCheckpoints);
        assert!(matches!(error.unwrap_err(), Error::SeveralScores { scores: 3 }));
        let started = members[0].clone();
        let error = config
            .fit_ensemble(started.clone(), &sources, 1, &mut Silent, &mut NoCheckpoints)
            .unwrap_err();
        assert!(error.to_string().starts_with("`ensemble.heads` is 3"), "{error}");
        // With heads that differ its trunk is fitted further.
        let start = Start::<B>::from(started).with_fresh_heads();
        let further =
            config.fit_ensemble(start, &sources, 1, &mut Silent, &mut NoCheckpoints).unwrap();
        assert_eq!(further.model.members().len(), 3);
    }

    #[test]
    fn refuses_to_learn_from_nothing() {
        let same = [preference("q", "a", "a", 1.0)];
        let error = refused(&config(1), &[Source::new("set", &same)]);
        assert!(matches!(error, Error::NoPreferences { overlong: 0, identical: 1 }), "{error}");
    }

    #[test]
    fn holds_out_a_prompt_of_few_and_refuses_one_alone() {
        // A tenth of four prompts is less than a half.
        let few = ["a", "b", "c", "d"].map(|prompt| preference(prompt, "good", "bad a", 0.9));
        let config = PreferenceModelConfig { held_out: 0.1, ..config(1) };
        assert_eq!(fit(&config, transformer(1), &few).report.unwrap().pairs, 1);
        let message = refused(&config, &[Source::new("set", &few[..1])]).to_string();
        assert!(message.contains("`held_out` is 0.1, but of 1 prompt"), "{message}");
    }

    #[test]
    fn a_group_of_the_optimiser_needs_a_parameter() {
        let preferences = preferences();
        let with_group = |names: &str| {
            let names = vec![names.to_owned()];
            let mut config = config(1);
            config.optimizer.groups.push(ParameterGroup { names, ..ParameterGroup::default() });
            config
        };
        fit(&with_group("heads.0."), transformer(1), &preferences);
        let source = Source::new("set", &preferences);
        let message = refused(&with_group("value_head"), &[source]).to_string();
        assert!(message.contains(r#"["value_head"]"#) && message.contains("heads.0."), "{message}");
    }

    #[test]
    fn refuses_names_that_do_not_fit() {
        let preferences = preferences();
        let source = Source::new("set", &preferences);
        let message = refused(&config(1), &[source, source]).to_string();
        assert!(message.contains("source `set`: `name` is that of two sets"), "{message}");
        let mut config = config(1);
        config.weights.insert("sett".to_owned(), 2.0);
        let message = refused(&config, &[source]).to_string();
        assert!(
            message.starts_with("`weights` names `sett`, but the sources are `set`"),
            "{message}"
        );
        config.weights.clear();
        config.lora = Some(LoraConfig { rank: 0, ..LoraConfig::default() });
        let message = refused(&config, &[source]).to_string();
        assert!(message.starts_with("`lora.rank` is 0, expected "), "{message}");
    }

    #[test]
    fn names_the_step_where_it_diverges() {
        let mut config = config(3);
        config.optimizer.learning_rate = 1e30;
        let preferences = preferences();
        let message = refused(&config, &[Source::new("set", &preferences)]).to_string();
        assert!(message.contains("at step 2 of preference_model"), "{message}");
    }

    #[test]
    fn a_last_step_that_diverges_gives_no_model() {
        let mut config = PreferenceModelConfig { tokens_per_step: 100_000, ..config(1) };
        config.optimizer.learning_rate = 1e30;
        let preferences = preferences();
        let message = refused(&config, &[Source::new("set", &preferences)]).to_string();
        let expected = "at step 1 of preference_model: training has diverged";
        assert!(message.starts_with("a weight of `") && message.contains(expected), "{message}");
    }

    #[test]
    fn the_fingerprint_sees_everything_that_decides_the_result() {
        let preferences = preferences();
        let of = |config: &PreferenceModelConfig, source: Source<'_>, start: Start<B>, seed| {
            let model = start.decoder.config();
            let sources = [source];
            let pairs = Pairs::new(&codec(), model, &sources, config.overlong).unwrap();
            config.fingerprint(&start, &pairs, &[source.weight], seed)
        };
        let (plain, source) = (config(1), Source::new("set", &preferences));
        let start = || Start::from(transformer(1));
        let first = of(&plain, source, start(), 1);
        assert_eq!(first, of(&plain, source, start(), 1));
        let mut other_label = preferences.clone();
        other_label[5].probability = 0.77;
        let mut other_text = preferences.clone();
        other_text[5].chosen = "c".to_owned();
        let margins = vec![0.1; 36];
        let pretrained = fit(&plain, transformer(1), &preferences).model;
        let others = [
            of(&config(2), source, start(), 1),
            of(&plain, source, start(), 2),
            of(&plain, source, transformer(2).into(), 1),
            of(&plain, source, pretrained.into(), 1),
            of(&plain, source.with_weight(2.0), start(), 1),
            of(&plain, source.with_margins(&margins), start(), 1),
            of(&plain, Source::new("set", &preferences[1..]), start(), 1),
            of(&plain, Source::new("set", &other_label), start(), 1),
            of(&plain, Source::new("set", &other_text), start(), 1),
        ];
        let distinct: HashSet<&String> = others.iter().chain([&first]).collect();
        assert_eq!(distinct.len(), 10);
    }
}
