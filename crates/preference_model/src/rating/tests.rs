use super::*;
use crate::testing::{B, Memory, Records, model_config, transformer};
use dialogue::Dialogue;
use evals::Rated;
use language_model::Reward;
use training::{Checkpoint, NoCheckpoints, Observe, ParameterGroup, Silent};
use transformer::fingerprint_of;

/// Replies with "bad" are rated 3, those with "good" 1, and a word more or less moves the rating a little.
fn rated() -> Vec<Rated> {
    let words = ["a", "b", "c", "d", "q", "r"];
    let mut rated = Vec::new();
    for prompt in words {
        for (index, word) in words.into_iter().enumerate() {
            for (quality, rating) in [("good", 1.0), ("bad", 3.0)] {
                let dialogue =
                    Dialogue::from_user(prompt).with_assistant(format!("{word} {quality}"));
                rated.push(Rated { dialogue, rating: rating + 0.1 * index as f64 });
            }
        }
    }
    rated
}

fn config(epochs: u64) -> RatingConfig {
    RatingConfig {
        epochs,
        tokens_per_step: 128,
        tokens_per_micro_batch: 48,
        held_out: 0.2,
        optimizer: OptimizerConfig::default().with_learning_rate(5e-3),
        schedule: Schedule::constant(),
        ..RatingConfig::default()
    }
}

fn fit(
    config: &RatingConfig,
    rated: &[Rated],
    observe: &mut dyn Observe,
    checkpoint: &mut dyn Checkpoint,
) -> Result<FittedRating<B>, Error> {
    config.fit(transformer(1), rated, 1, observe, checkpoint)
}

#[test]
fn predicts_ratings_better_than_their_mean() {
    let mut records = Records::default();
    let fitted = fit(&config(25), &rated(), &mut records, &mut NoCheckpoints).unwrap();
    let report = fitted.report.unwrap();
    assert_eq!(report.n, 14);
    assert!(report.of_the_mean > 0.8, "{report:?}");
    assert!(report.mean_squared_error < 0.3 * report.of_the_mean, "{report:?}");
    assert!(report.pearson.unwrap() > 0.8 && report.spearman.unwrap() > 0.5, "{report:?}");
    let last = records.metrics.len() - 1;
    assert_eq!(records.started, Some(("rating_model".to_owned(), records.metrics.len() as u64)));
    let found = records.metric(last, "held_out_squared_error");
    assert!((found - report.mean_squared_error).abs() < 1e-9);
    assert!(records.metric(0, "loss") > 0.5 && records.metric(last, "loss") < 0.3);

    // In the unit of the ratings, also after the disk.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    fitted.model.save(&path).unwrap();
    let device = burn_flex::FlexDevice;
    let model = PreferenceModel::<burn_flex::Flex>::from_folder(&path, &device).unwrap();
    let dialogues = ["a good", "a bad"].map(|reply| Dialogue::from_user("q").with_assistant(reply));
    let predicted = model.reward(&dialogues).unwrap();
    assert!((predicted[0] - 1.0).abs() < 0.7 && (predicted[1] - 3.0).abs() < 0.7, "{predicted:?}");
}

#[test]
fn the_first_loss_is_the_squared_error_by_hand() {
    let rated = &rated()[..4];
    let config = RatingConfig { held_out: 0.0, tokens_per_step: 10_000, ..config(1) };
    let loss = |tokens_per_micro_batch| {
        let config = RatingConfig { tokens_per_micro_batch, ..config.clone() };
        let mut records = Records::default();
        let fitted = fit(&config, rated, &mut records, &mut NoCheckpoints).unwrap();
        assert_eq!((records.metrics.len(), fitted.report), (1, None));
        records.metric(0, "loss")
    };
    // A model that hardly moves predicts what the first step begins with.
    let mut still = config.clone();
    still.optimizer.learning_rate = 1e-12;
    let start = fit(&still, rated, &mut Silent, &mut NoCheckpoints).unwrap().model;
    let dialogues: Vec<Dialogue> = rated.iter().map(|one| one.dialogue.clone()).collect();
    let predicted = start.reward(&dialogues).unwrap();
    let errors =
        predicted.iter().zip(rated).map(|(found, one)| (f64::from(*found) - one.rating).powi(2));
    let expected = errors.sum::<f64>() / 4.0;
    for tokens in [1, 10_000] {
        assert!((loss(tokens) - expected).abs() < 1e-4, "{} {expected}", loss(tokens));
    }
}

#[test]
fn goes_on_to_the_same_bits() {
    let (config, rated) = (config(2), rated());
    let mut expected_records = Records::default();
    let expected = fit(&config, &rated, &mut expected_records, &mut NoCheckpoints).unwrap();
    let steps = expected_records.metrics.len() as u64;
    for killed in [2, steps / 2, steps] {
        let mut memory = Memory::every(1);
        let mut records = Records { fails_at: Some(killed), ..Records::default() };
        fit(&config, &rated, &mut records, &mut memory).unwrap_err();
        records.fails_at = None;
        let found = fit(&config, &rated, &mut records, &mut memory).unwrap();
        assert_eq!(records, expected_records, "killed at step {killed}");
        let print = |fitted: &FittedRating<B>| fingerprint_of(fitted.model.scalar_model());
        assert_eq!(print(&found), print(&expected));
        assert_eq!(found.report, expected.report);
    }
}

#[test]
fn the_split_does_not_depend_on_the_order() {
    let report = |rated: &[Rated]| {
        let fitted = fit(&config(1), rated, &mut Silent, &mut NoCheckpoints).unwrap();
        fitted.report.unwrap()
    };
    let mut reversed = rated();
    reversed.reverse();
    let (one, other) = (report(&rated()), report(&reversed));
    // The same dialogues are held out, whatever the model makes of them.
    assert!((one.of_the_mean - other.of_the_mean).abs() < 1e-9);
}

#[test]
fn dialogues_that_look_alike_to_the_model_are_on_one_side() {
    // What tells them apart does not fit.
    let rated = ["a b c d a b", "d c b a b c"].map(|opening| {
        let earlier = Dialogue::from_user(opening).with_assistant("c d a b c");
        Rated { dialogue: earlier.with_user("q").with_assistant("a"), rating: 2.0 }
    });
    let config = RatingConfig { overlong: Overlong::OldestTurns, ..config(1) };
    let error = fit(&config, &rated, &mut Silent, &mut NoCheckpoints).unwrap_err();
    assert!(error.to_string().contains("of 1 dialogue none can be held out"), "{error}");
}

#[test]
fn a_last_step_that_diverges_gives_no_model() {
    let mut config = RatingConfig { tokens_per_step: 100_000, ..config(1) };
    config.optimizer.learning_rate = 1e30;
    let error = fit(&config, &rated(), &mut Silent, &mut NoCheckpoints).unwrap_err().to_string();
    let expected = "at step 1 of rating_model: training has diverged";
    assert!(error.starts_with("a weight of `") && error.contains(expected), "{error}");
}

#[test]
fn refuses_what_it_cannot_learn_from() {
    let refused = |config: &RatingConfig, rated: &[Rated]| {
        fit(config, rated, &mut Silent, &mut NoCheckpoints).unwrap_err().to_string()
    };
    assert!(refused(&config(0), &rated()).starts_with("`epochs` is 0"));
    assert!(refused(&config(1_000_001), &rated()).starts_with("`epochs` is 1000001, expected"));
    let schedule = Schedule::constant().with_floor(0.2);
    let no_fall = RatingConfig { schedule, ..config(1) };
    assert!(refused(&no_fall, &rated()).starts_with("`schedule.floor` is 0.2, expected"));
    let mut forgetful = config(1);
    forgetful.optimizer.beta_2 = 1.5;
    assert!(refused(&forgetful, &rated()).starts_with("`optimizer.beta_2` is 1.5, expected"));
    let schedule = Schedule::linear().with_floor(2.0);
    let too_high = RatingConfig { schedule, ..config(1) };
    assert!(refused(&too_high, &rated()).starts_with("`schedule.floor` is 2, expected"));
    let twice = [rated(), rated()].concat();
    assert!(refused(&config(1_000_000), &twice).starts_with("`epochs` is 1000000, which"));
    let bad = RatingConfig { held_out: 1.0, ..config(1) };
    assert!(refused(&bad, &rated()).starts_with("`held_out` is 1"));
    assert!(refused(&config(1), &[]).contains("no rated dialogues"));
    let long = Rated {
        dialogue: Dialogue::from_user("a").with_assistant(["a"; 20].join(" ")),
        rating: 1.0,
    };
    assert!(refused(&config(1), std::slice::from_ref(&long)).contains("1 were dropped"));
    let group = ParameterGroup { names: vec!["haed".to_owned()], ..ParameterGroup::default() };
    let mut grouped = config(1);
    grouped.optimizer.groups.push(group);
    assert!(refused(&grouped, &rated()).contains(r#"["haed"]"#));
    let strict = RatingConfig { overlong: Overlong::Error, ..config(1) };
    let message = refused(&strict, std::slice::from_ref(&long));
    assert!(message.contains("rated dialogue 0") && message.contains("holds 16"), "{message}");
    let damaged = Rated { rating: f64::NAN, ..rated()[0].clone() };
    assert!(refused(&config(1), &[damaged]).contains("rating"));
    let earlier = Dialogue::from_user("a b c d a b").with_assistant("c d a b c");
    let dialogue = earlier.with_user("q").with_assistant("a");
    let shorter = [Rated { dialogue, rating: 2.0 }];
    let config = RatingConfig { overlong: Overlong::OldestTurns, ..config(1) };
    assert!(refused(&config, &shorter).contains("of 1 dialogue none can be held out"));
    let config = RatingConfig { held_out: 0.0, ..config };
    let mut records = Records::default();
    fit(&config, &shorter, &mut records, &mut NoCheckpoints).unwrap();
    assert!((records.metric(0, "shortened") - 1.0).abs() < 1e-9);
    assert!(records.metric(0, "tokens") <= model_config().max_position_embeddings as f64);
}

#[test]
fn reads_what_it_writes_and_refuses_the_unknown() {
    let config: RatingConfig = serde_json::from_str(r#"{"epochs": 2, "held_out": 0.3}"#).unwrap();
    assert_eq!(config.epochs, 2);
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<RatingConfig>(&written).unwrap(), config);
    assert!(serde_json::from_str::<RatingConfig>(r#"{"epoch": 2}"#).is_err());
}
