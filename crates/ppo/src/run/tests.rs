//! Whole runs on a thin model.

use super::*;
use crate::test_support::{B, CONTEXT, Kept, Records, VOCABULARY, policy};
use crate::{Advantage, BestOfN, KlEstimator, KlPlace, Over, ScorePlace, ValueModel};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use burn_flex::FlexDevice;
use dialogue::Dialogue;
use language_model::Reward;
use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use training::{
    Checkpoints, Every, JsonLines, NoCheckpoints, OptimizerConfig, ParameterGroup, Schedule, Silent,
};
use transformer::{
    LoraConfig, ModelConfig, ScalarHead, ScalarModel, fingerprint_of, learning_paths,
};

fn prompts(count: u8) -> Vec<Dialogue> {
    (0..count).map(|index| Dialogue::from_user(char::from(b'a' + index))).collect()
}

fn small() -> PpoConfig {
    PpoConfig {
        iterations: 2,
        prompts_per_iteration: 3,
        samples_per_prompt: 2,
        max_tokens: 6,
        ..PpoConfig::default()
    }
}

/// Shares of the reply's letters that are a vowel.
fn vowels(dialogue: &Dialogue) -> f32 {
    let reply = dialogue.last_reply().unwrap_or_default();
    let vowels = reply.chars().filter(|letter| "aeiou".contains(*letter)).count();
    vowels as f32 / reply.len().max(1) as f32
}

fn run(config: &PpoConfig, reward: &dyn Reward, prompts: &[Dialogue]) -> Result<Records, Error> {
    let mut records = Records::default();
    let inputs = Inputs::<B>::new(policy(1), reward, prompts);
    config.run(inputs, 1, &mut records, &mut NoCheckpoints)?;
    Ok(records)
}

/// Runs on four prompts and keeps every reply and the final records.
fn replies(config: &PpoConfig, seed: u64) -> (Vec<Vec<ScoredReply>>, Records) {
    let (mut records, mut replies) = (Records::default(), Vec::new());
    let mut after = |iteration: &Iteration<'_, _>| {
        replies.push(iteration.replies.to_vec());
        Ok(ControlFlow::Continue(()))
    };
    let prompts = prompts(4);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
    config.run_with(inputs, seed, &mut records, &mut NoCheckpoints, &mut after).unwrap();
    (replies, records)
}

fn learner(iterations: usize) -> PpoConfig {
    let mut config = PpoConfig {
        iterations,
        prompts_per_iteration: 8,
        max_tokens: 12,
        kl_coefficient: 0.01,
        ..PpoConfig::default()
    };
    config.optimizer.learning_rate = 1e-2;
    config
}

#[test]
fn learns_to_reply_in_vowels() {
    let records = run(&learner(25), &vowels, &prompts(8)).unwrap();
    assert_eq!(records.started, [("ppo".to_owned(), 25)]);
    assert!(records.finished);
    let scores = records.values("score_mean");
    // Chance is 5 in 27 letters.
    assert!(scores[0] < 0.3, "{scores:?}");
    assert!(scores[20..].iter().all(|&score| score > 0.8), "{scores:?}");
    let kl = records.values("kl_per_sequence");
    assert!(kl[0].abs() < 1e-4 && kl[24] > 1.0, "{kl:?}");
}

#[test]
fn learns_by_every_estimator_and_value_model() {
    type Change = fn(&mut PpoConfig);
    let changes: [(&str, Change); 6] = [
        ("rloo", |c| c.advantage = Advantage::Rloo),
        ("group_normalised", |c| {
            c.advantage = Advantage::GroupNormalised;
            c.whiten_advantages.over = Over::Nothing;
            c.kl_place = KlPlace::Loss;
            c.kl_estimator = KlEstimator::K3;
        }),
        ("group_centred", |c| c.advantage = Advantage::GroupCentred),
        ("separate", |c| c.value_model = ValueModel::Separate),
        ("after_last", |c| c.score_place = ScorePlace::AfterLast),
        ("cold", |c| c.temperature = 0.7),
    ];
    for (name, change) in changes {
        let mut config = learner(16);
        change(&mut config);
        let scores = run(&config, &vowels, &prompts(8)).unwrap().values("score_mean");
        let last = scores[12..].iter().sum::<f64>() / 4.0;
        assert!(last > scores[0] + 0.2, "{name}: {scores:?}");
    }
}

#[test]
fn an_adapter_leaves_the_weights_alone() {
    let mut config = PpoConfig { lora: Some(LoraConfig::default()), ..small() };
    config.optimizer.learning_rate = 1e-2;
    let prompts = prompts(3);
    let before = policy(1);
    let inputs = Inputs::<B>::new(before.clone(), &vowels, &prompts);
    let mut records = Records::default();
    let after = config.run(inputs, 1, &mut records, &mut NoCheckpoints).unwrap();
    // The policy without its adapter is the reference, which it has left.
    let kl = records.values("kl_per_sequence");
    assert!(kl[0].abs() < 1e-6 && kl[1].abs() > 1e-4, "{kl:?}");
    assert!(after.decoder.adapter().is_some());
    let base = fingerprint_of(&after.decoder.without_adapter());
    assert_eq!(base, fingerprint_of(&before.decoder));

    // A second adapter on top would be one too many.
    let inputs = Inputs::<B>::new(after, &vowels, &prompts);
    let error = config.run(inputs, 1, &mut Silent, &mut NoCheckpoints).unwrap_err().to_string();
    assert!(error.contains("`lora`") && error.contains("merge"), "{error}");
}

#[test]
fn a_value_model_beside_an_adapter_is_a_whole_copy_of_the_policy() {
    let lora = Some(LoraConfig::default());
    let mut config = PpoConfig { lora, value_model: ValueModel::Separate, ..small() };
    config.optimizer.learning_rate = 1e-2;
    let (base, prompts) = (policy(1), prompts(3));
    let mut records = Records::default();
    let inputs = Inputs::<B>::new(base.clone(), &vowels, &prompts);
    let learned = config.run(inputs, 1, &mut records, &mut NoCheckpoints).unwrap().decoder;
    assert!(records.values("value_gradient_norm").iter().all(|&norm| norm > 0.0));

    // An adapter that has learned nothing yet leaves the base; what one has learned is taken along.
    let critic = |policy: &Decoder<B>| Critic::separate(policy, None);
    let fresh = base.decoder.clone().with_adapter(&LoraConfig::default(), 5).unwrap();
    let [of_base, of_fresh, of_learned] = [&base.decoder, &fresh, &learned].map(critic);
    assert_eq!(fingerprint_of(&of_fresh), fingerprint_of(&of_base));
    let merged = learned.clone().merge_adapter();
    assert_eq!(fingerprint_of(&of_learned), fingerprint_of(&critic(&merged)));
    assert_ne!(fingerprint_of(&of_learned), fingerprint_of(&of_base));
    for one in [&of_fresh, &of_learned] {
        assert_eq!(learning_paths(one), learning_paths(&of_base));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, records) = replies(&small(), 7);
    let (again, records_again) = replies(&small(), 7);
    assert_eq!(first, again);
    assert_eq!(records.metrics, records_again.metrics);
    let (other, _) = replies(&small(), 8);
    assert_ne!(first, other);
    // Neither two samples of a prompt nor two rounds share a stream.
    assert_ne!(first[0][0].reply, first[0][1].reply);
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [6, 6]);
}

/// Whoever is interrupted after any iteration ends at the same weights and records.
#[test]
fn an_interrupted_run_ends_at_the_same_bits() {
    type Change = fn(&mut PpoConfig);
    let changes: [Change; 5] = [
        |c| c.kl_target = Some(KlTarget::NatsPerSequence(0.1)),
        |c| c.value_model = ValueModel::Separate,
        |c| {
            c.lora = Some(LoraConfig::default());
            c.value_model = ValueModel::Separate;
        },
        |c| {
            c.lora = Some(LoraConfig::default());
            c.advantage = Advantage::Rloo;
        },
        |c| {
            let sft = sft::SftConfig { tokens_per_step: 16, ..sft::SftConfig::default() };
            c.best_of_n_start = Some(BestOfN { samples: 2, prompts: 3, sft });
            c.lora = Some(LoraConfig::default());
        },
    ];
    let prompts = prompts(4);
    let ptx = [Example::unmasked(vec![1, 2, 3, 4]), Example::unmasked(vec![5, 6])];
    for change in changes {
        let mut config = PpoConfig { iterations: 4, ptx_coefficient: 0.5, ..small() };
        change(&mut config);
        let attempt = |records: &mut Records, kept: &mut Kept| {
            let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts)
                .with_held_out_reward(&vowels)
                .with_ptx(&ptx);
            config.run(inputs, 3, records, kept).map(|policy| fingerprint_of(&policy.decoder))
        };
        let mut undisturbed = Records::default();
        let expected = attempt(&mut undisturbed, &mut Kept::default()).unwrap();
        for fail_at in 1..=4 {
            let mut kept = Kept::default();
            let mut records = Records { fail_at: Some(("ppo", fail_at)), ..Records::default() };
            attempt(&mut records, &mut kept).unwrap_err();
            records.fail_at = None;
            assert_eq!(attempt(&mut records, &mut kept).unwrap(), expected, "at {fail_at}");
            assert_eq!(records.metrics, undisturbed.metrics);
        }
    }
}

/// Three groups of replies, a fine-tuning on the best of them, and two rounds.
fn with_a_start() -> PpoConfig {
    let sft = sft::SftConfig { tokens_per_step: 8, ..sft::SftConfig::default() };
    let best = BestOfN { samples: 2, prompts: 5, sft };
    PpoConfig { best_of_n_start: Some(best), prompts_per_iteration: 2, ..small() }
}

/// Whoever is interrupted before the first round goes on there: what was kept is neither drawn nor scored again.
#[test]
fn an_interrupted_start_draws_nothing_twice() {
    let (config, prompts) = (with_a_start(), prompts(5));
    let attempt = |records: &mut Records, kept: &mut Kept| {
        let scored = Cell::new(0);
        let reward = |dialogue: &Dialogue| {
            scored.set(scored.get() + 1);
            vowels(dialogue)
        };
        let inputs = Inputs::<B>::new(policy(1), &reward, &prompts);
        let result = config.run(inputs, 3, records, kept);
        (result.map(|policy| fingerprint_of(&policy.decoder)), scored.get())
    };
    let mut undisturbed = Records::default();
    let (expected, all) = attempt(&mut undisturbed, &mut Kept::default());
    let expected = expected.unwrap();
    let stages: Vec<&str> = undisturbed.started.iter().map(|(stage, _)| stage.as_str()).collect();
    let [drawing, tuning, ppo] = ["ppo_best_of_n", "ppo_best_of_n_sft", "ppo"];
    assert_eq!(stages, [drawing, tuning, ppo]);
    assert!(undisturbed.started[0].1 == 3 && undisturbed.started[1].1 > 1);
    let (start, rounds) = (2 * 5, 2 * 4);
    assert_eq!(all, start + rounds);
    // A group that was not kept is drawn again, as is a round.
    for (stage, step, again) in [
        (drawing, 1, start + rounds),
        (drawing, 2, start - 4 + rounds),
        (drawing, 3, start - 8 + rounds),
        (tuning, 1, rounds),
        (tuning, 2, rounds),
        (ppo, 1, rounds),
        (ppo, 2, rounds / 2),
    ] {
        let mut kept = Kept::default();
        let mut records = Records { fail_at: Some((stage, step)), ..Records::default() };
        attempt(&mut records, &mut kept).0.unwrap_err();
        records.fail_at = None;
        let (found, scored) = attempt(&mut records, &mut kept);
        assert_eq!((found.unwrap(), scored), (expected.clone(), again), "{stage} {step}");
        assert_eq!(records.metrics, undisturbed.metrics, "{stage} {step}");
    }
}

/// States of the start and of the rounds are kept alike: the one before a damaged one is there.
#[test]
fn a_damaged_state_is_skipped_before_the_first_round_and_after_it() {
    let (config, prompts) = (with_a_start(), prompts(5));
    let attempt = |records: &mut Records, folder: &Path| {
        let mut states = Checkpoints::new(folder).every(Every::Steps(1)).keep(2);
        let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
        config.run(inputs, 3, records, &mut states).map(|policy| fingerprint_of(&policy.decoder))
    };
    let root = tempfile::tempdir().unwrap();
    let mut undisturbed = Records::default();
    let expected = attempt(&mut undisturbed, &root.path().join("undisturbed")).unwrap();
    let [drawing, tuning, ppo] = ["ppo_best_of_n", "ppo_best_of_n_sft", "ppo"];
    for (stage, step, kept) in [
        (drawing, 3, [1, 2]),
        (tuning, 1, [2, 3]),
        (tuning, 2, [3, 4]),
        // Three groups, at most five steps, and what the rounds begin with.
        (ppo, 2, [9, 10]),
    ] {
        let folder = root.path().join(format!("{stage}_{step}"));
        let mut records = Records { fail_at: Some((stage, step)), ..Records::default() };
        attempt(&mut records, &folder).unwrap_err();
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut states: Vec<_> = entries.collect();
        states.sort();
        assert_eq!(states, kept.map(|number| folder.join(format!("step-{number:09}"))), "{stage}");
        fs::write(states[1].join("state.json"), "{").unwrap();
        records.fail_at = None;
        assert_eq!(attempt(&mut records, &folder).unwrap(), expected, "{stage} {step}");
        let [note] = &records.notes[..] else { panic!("{:?}", records.notes) };
        assert!(note.contains("is damaged and left out"), "{note}");
        assert_eq!(records.metrics, undisturbed.metrics, "{stage} {step}");
    }
}

/// What one of those who watch has to tell is heard before the first round, too.
#[test]
fn damaged_metrics_of_a_start_are_noted() {
    let (config, prompts) = (with_a_start(), prompts(5));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let attempt = |records: &mut Records, kept: &mut Kept| {
        let lines = JsonLines::create(&path).unwrap();
        let mut all: Vec<Box<dyn Observe + '_>> = vec![Box::new(lines), Box::new(records)];
        let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
        config.run(inputs, 3, &mut all, kept).map(drop)
    };
    for stage in ["ppo_best_of_n", "ppo_best_of_n_sft"] {
        let mut kept = Kept::default();
        let mut records = Records { fail_at: Some((stage, 2)), ..Records::default() };
        attempt(&mut records, &mut kept).unwrap_err();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen("{\"step\":1,", "{\"stop\":1,", 1)).unwrap();
        records.fail_at = None;
        attempt(&mut records, &mut kept).unwrap();
        let named = format!("{}, line 1: ", path.display());
        let notes = &records.notes;
        assert!(notes.iter().any(|note| note.starts_with(&named)), "{stage}: {notes:?}");
    }
}

#[test]
fn states_are_numbered_through() {
    let numbered = |prompts| last_before_rounds(&with_a_start(), prompts);
    // As many prompts as are asked for, or as there are.
    assert_eq!((numbered(9), numbered(3)), (3 + 5 + 1, 2 + 3 + 1));
    assert_eq!(last_before_rounds(&small(), 9), 0);
    let mut long = with_a_start();
    let best = long.best_of_n_start.as_mut().unwrap();
    (best.sft.epochs, best.sft.max_steps) = (u64::MAX, Some(7));
    assert_eq!(last_before_rounds(&long, 9), 3 + 7 + 1);
}

#[test]
fn a_start_reports_what_it_draws() {
    let prompts = prompts(5);
    let config = PpoConfig { missing_end_penalty: 0.0, ..with_a_start() };
    let mut records = Records { fail_at: Some(("ppo_best_of_n", 3)), ..Records::default() };
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
    config.run(inputs, 3, &mut records, &mut NoCheckpoints).unwrap_err();
    assert_eq!(records.values("replies"), [4.0, 4.0]);
    let (mean, best) = (records.values("score_mean"), records.values("best_score_mean"));
    assert!(mean.iter().zip(&best).all(|(mean, best)| mean <= best), "{mean:?} {best:?}");
    assert!(mean.iter().sum::<f64>() < best.iter().sum::<f64>(), "{mean:?} {best:?}");
}

#[test]
fn a_state_of_other_inputs_has_another_owner() {
    let prompts = prompts(4);
    let owner = |config: &PpoConfig, policy: Transformer<B>, seed| {
        Inputs::<B>::new(policy, &vowels, &prompts).fingerprint(config, seed)
    };
    let first = owner(&small(), policy(1), 1);
    assert_eq!(owner(&small(), policy(1), 1), first);
    assert_ne!(owner(&small(), policy(2), 1), first);
    assert_ne!(owner(&small(), policy(1), 2), first);
    assert_ne!(owner(&PpoConfig { gamma: 0.5, ..small() }, policy(1), 1), first);
}

#[test]
fn a_state_of_another_reward_has_another_owner() {
    struct Known(&'static str);
    impl Reward for Known {
        fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, language_model::Error> {
            Ok(vec![0.0; dialogues.len()])
        }

        fn fingerprint(&self) -> Option<String> {
            Some(self.0.to_owned())
        }
    }
    let prompts = prompts(4);
    let owner = |reward: &dyn Reward, held_out: Option<&dyn Reward>| {
        let mut inputs = Inputs::<B>::new(policy(1), reward, &prompts);
        inputs.held_out_reward = held_out;
        inputs.fingerprint(&small(), 1)
    };
    let [one, other] = [Known("one"), Known("other")];
    let owners = [
        owner(&vowels, None),
        owner(&one, None),
        owner(&other, None),
        owner(&one, Some(&one)),
        owner(&one, Some(&other)),
    ];
    assert_eq!(owner(&one, None), owners[1]);
    assert_eq!(HashSet::from(owners).len(), 5);
}

#[test]
fn reports_every_metric_under_its_name() {
    let mut records = Records::default();
    let prompts = prompts(4);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts).with_held_out_reward(&vowels);
    small().run(inputs, 7, &mut records, &mut NoCheckpoints).unwrap();
    let names: Vec<&str> = records.metrics[1].iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "score_mean",
        "score_std",
        "reward_mean",
        "held_out_score_mean",
        "kl_per_sequence",
        "kl_per_token",
        "sqrt_kl",
        "kl_coefficient",
        "entropy",
        "reply_tokens",
        "ended_share",
        "repeated_4grams",
        "engine_gap_mean",
        "engine_gap_max",
        "engine_kl",
        "explained_variance",
        "policy_loss",
        "value_loss",
        "kl_loss",
        "ptx_loss",
        "approx_kl",
        "ratio_mean",
        "ratio_max",
        "clip_fraction",
        "gradient_norm",
        "value_gradient_norm",
        "learning_rate",
    ];
    assert_eq!(names, expected);
    assert!(records.metrics.iter().flatten().all(|(_, value)| value.is_finite()));
    // Engine and trainer share their arithmetic up to rounding.
    assert!(records.values("engine_gap_max").iter().all(|&gap| gap < 1e-4));
    assert_eq!(records.values("held_out_score_mean"), records.values("score_mean"));
    // One reply a prompt, in the first round and then every five.
    let shown: Vec<u64> = records.texts.iter().map(|(step, _)| *step).collect();
    assert_eq!(shown, [1, 1, 1]);
    assert!(records.texts[0].1.contains("score "), "{:?}", records.texts);
}

#[test]
fn a_target_moves_the_coefficient() {
    let config = PpoConfig {
        kl_target: Some(KlTarget::NatsPerToken(1e-6)),
        kl_horizon: 60.0,
        iterations: 4,
        ..small()
    };
    let coefficients = run(&config, &vowels, &prompts(4)).unwrap().values("kl_coefficient");
    // No KL in the first round: down by a fifth of 6 / 60; then up as fast as may be.
    let expected = [0.05, 0.05 * 0.98, 0.05 * 0.98 * 1.02];
    for (found, expected) in coefficients.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{coefficients:?}");
    }
}

#[test]
fn a_reward_that_is_exploited_is_noted() {
    // The held-out judge dislikes what the reward likes.
    let dislike = |dialogue: &Dialogue| -vowels(dialogue);
    let mut records = Records::default();
    let prompts = prompts(8);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts).with_held_out_reward(&dislike);
    learner(24).run(inputs, 1, &mut records, &mut NoCheckpoints).unwrap();
    let exploited = records.notes.iter().filter(|note| note.contains("exploit"));
    assert_eq!(exploited.count(), 1, "{:?}", records.notes);
}

#[test]
fn ends_where_the_caller_says() {
    let mut records = Records::default();
    let mut stop = |_: &Iteration<'_, _>| Ok(ControlFlow::Break(()));
    let prompts = prompts(4);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
    small().run_with(inputs, 7, &mut records, &mut NoCheckpoints, &mut stop).unwrap();
    assert_eq!(records.metrics.len(), 1);
    assert!(records.finished);
}

/// What is learned before the first round follows the penalty, not the reward alone.
#[test]
fn the_start_learns_from_penalised_scores() {
    let prompts = prompts(4);
    // Long replies score best, and the longest are those that were cut.
    let length = |dialogue: &Dialogue| dialogue.last_reply().unwrap_or_default().len() as f32;
    let first_replies = |missing_end_penalty| {
        let mut sft = sft::SftConfig { tokens_per_step: 16, ..sft::SftConfig::default() };
        sft.optimizer.learning_rate = 1e-2;
        let best = BestOfN { samples: 8, prompts: 4, sft };
        let config = PpoConfig {
            iterations: 1,
            max_tokens: 12,
            missing_end_penalty,
            best_of_n_start: Some(best),
            ..small()
        };
        let mut drawn = Vec::new();
        let mut after = |iteration: &Iteration<'_, _>| {
            drawn.extend_from_slice(iteration.replies);
            Ok(ControlFlow::Continue(()))
        };
        let inputs = Inputs::<B>::new(policy(1), &length, &prompts);
        config.run_with(inputs, 3, &mut Silent, &mut NoCheckpoints, &mut after).unwrap();
        drawn.into_iter().map(|reply| reply.reply).collect::<Vec<String>>()
    };
    assert_eq!(first_replies(0.0), first_replies(0.0));
    assert_ne!(first_replies(0.0), first_replies(100.0));
}

#[test]
fn stops_when_the_kl_explodes() {
    // One violent step, then a round that is beyond any reasonable KL.
    let mut config = PpoConfig { max_kl_per_sequence: 0.05, iterations: 9, ..small() };
    config.optimizer.learning_rate = 0.05;
    let error = run(&config, &vowels, &prompts(4)).unwrap_err();
    assert!(matches!(error, Error::KlExploded { iteration: 2.., .. }), "{error}");
    let message = error.to_string();
    for advice in [
        "above `max_kl_per_sequence` = 0.05",
        "learning rate",
        "`kl_coefficient`",
        "`epochs`",
        "begin the stage anew",
        "a higher `max_kl_per_sequence`",
    ] {
        assert!(message.contains(advice), "`{advice}` is missing in: {message}");
    }
}

/// Replies are too short to come near the limit of a whole one.
#[test]
fn stops_when_the_kl_of_short_replies_explodes() {
    let mut config = PpoConfig { max_kl_per_token: 0.01, iterations: 9, ..small() };
    config.optimizer.learning_rate = 0.05;
    let error = run(&config, &vowels, &prompts(4)).unwrap_err();
    assert!(matches!(error, Error::KlExploded { limit: KlLimit::PerToken { .. }, .. }), "{error}");
    let message = error.to_string();
    for part in ["`max_kl_per_token` = 0.01 at ", "a higher `max_kl_per_token`"] {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

#[test]
fn a_kl_far_below_0_is_as_broken_and_has_advice_of_its_own() {
    let check = |kl_per_sequence| {
        let rollout = RolloutMetrics {
            score_mean: 0.0,
            score_std: 1.0,
            reward_mean: 0.0,
            kl_per_sequence,
            kl_per_token: kl_per_sequence / 10.0,
            kl_coefficient: 0.1,
            entropy: 1.0,
            reply_tokens: 10.0,
            ended_share: 1.0,
            repeated_4grams: 0.0,
            engine_gap_mean: 0.25,
            engine_gap_max: 1.0,
            engine_kl: 0.1,
            explained_variance: 0.0,
        };
        let config = PpoConfig { max_kl_per_sequence: 2.0, ..PpoConfig::default() };
        check_kl(&rollout, &config, 3)
    };
    for kl in [-2.0, -0.1, 0.0, 2.0] {
        check(kl).unwrap();
    }
    assert!(matches!(check(2.1), Err(Error::KlExploded { iteration: 3, .. })));
    let message = check(-2.1).unwrap_err().to_string();
    for part in ["-2.1 nats in iteration 3", "`max_kl_per_sequence` = 2", "0.250 nats a token"] {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

#[test]
fn stops_when_nobody_says_anything() {
    // A reward for silence; every reply is the end-of-turn token alone in the end.
    let silence = |dialogue: &Dialogue| -(dialogue.last_reply().unwrap_or_default().len() as f32);
    let config = PpoConfig { kl_coefficient: 0.0, missing_end_penalty: 0.0, ..learner(60) };
    let error = run(&config, &silence, &prompts(8)).unwrap_err();
    assert!(matches!(error, Error::EmptyReplies { replies: 32, .. }), "{error}");
    assert!(error.to_string().contains("chat template"), "{error}");
}

/// A policy that has learned to end its turn at once.
fn silent() -> Transformer<B> {
    let Transformer { decoder, codec, engine } = policy(1);
    let rows: Vec<Example> = prompts(5)
        .iter()
        .map(|prompt| {
            let mut tokens = codec.encode_prompt(prompt).unwrap();
            let weights = tokens.iter().map(|_| 0.0).chain([1.0]).collect();
            // The last of the vocabulary ends a turn.
            tokens.push(VOCABULARY - 1);
            Example { tokens, weights }
        })
        .collect();
    let config = sft::SftConfig {
        epochs: 60,
        optimizer: OptimizerConfig::default().with_learning_rate(1e-2),
        schedule: Schedule::constant(),
        ..sft::SftConfig::default()
    };
    let decoder = config.fit_examples(decoder, &rows, 1, &mut Silent, &mut NoCheckpoints).unwrap();
    Transformer { decoder, codec, engine }
}

#[test]
fn stops_when_nobody_says_anything_before_the_first_round() {
    let config = PpoConfig { temperature: 0.1, ..with_a_start() };
    let prompts = prompts(5);
    let inputs = Inputs::<B>::new(silent(), &vowels, &prompts);
    let error = config.run(inputs, 3, &mut Silent, &mut NoCheckpoints).unwrap_err();
    assert!(matches!(error, Error::EmptyReplies { phase: Phase::Start, replies: 4 }), "{error}");
    let message = error.to_string();
    for part in ["before the first iteration, in `best_of_n_start`", "chat template"] {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
}

#[test]
fn refuses_bad_input_before_it_draws() {
    let run = |config: &PpoConfig, prompts: &[Dialogue]| {
        let drawn = Cell::new(0);
        let reward = |_: &Dialogue| {
            drawn.set(drawn.get() + 1);
            0.0
        };
        let error = run(config, &reward, prompts).unwrap_err();
        assert_eq!(drawn.get(), 0);
        error.to_string()
    };
    assert!(run(&small(), &[]).contains("no prompts"));
    let long = Dialogue::from_user("a".repeat(CONTEXT - 6));
    let message = run(&small(), &[Dialogue::from_user("a"), long.clone()]);
    assert!(message.contains(&long.id()) && message.contains("32"), "{message}");
    assert!(run(&PpoConfig { clip_low: 0.0, ..small() }, &prompts(1)).contains("`clip_low`"));
    let lacking = PpoConfig { ptx_coefficient: 1.0, ..small() };
    assert!(run(&lacking, &prompts(1)).contains("`ptx_coefficient` is set, but no rows"));

    // Whatever optimiser it is of, also where replies are drawn to begin with.
    let group = ParameterGroup { names: vec!["embeding".to_owned()], ..ParameterGroup::default() };
    let grouped = OptimizerConfig { groups: vec![group], ..OptimizerConfig::default() };
    let mut own = PpoConfig { optimizer: grouped.clone(), ..with_a_start() };
    assert!(run(&own, &prompts(5)).starts_with("`optimizer.groups`: "));
    own.optimizer = OptimizerConfig::default();
    own.best_of_n_start.as_mut().unwrap().sft.optimizer = grouped;
    assert!(run(&own, &prompts(5)).starts_with("`best_of_n_start.sft.optimizer.groups`: "));
    let best = own.best_of_n_start.as_mut().unwrap();
    best.sft = sft::SftConfig { epochs: 0, ..sft::SftConfig::default() };
    assert!(run(&own, &prompts(5)).starts_with("`best_of_n_start.sft`: `epochs` is 0"));

    // Of one prompt none can be held out, be it there once or several times.
    let best = own.best_of_n_start.as_mut().unwrap();
    best.sft = sft::SftConfig { held_out: 0.5, ..sft::SftConfig::default() };
    for prompts in [prompts(1), [prompts(1), prompts(1)].concat()] {
        let message = run(&own, &prompts);
        let expected = "`best_of_n_start.sft`: `held_out` is 0.5, but of 1 prompt(s) none";
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_start_holds_one_prompt_of_two_out() {
    let mut config = with_a_start();
    config.best_of_n_start.as_mut().unwrap().sft.held_out = 0.5;
    let mut records = Records { fail_at: Some(("ppo", 1)), ..Records::default() };
    let prompts = prompts(2);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
    config.run(inputs, 3, &mut records, &mut NoCheckpoints).unwrap_err();
    // One step on the other, and the rounds begin.
    let [_, tuning, ppo] = &records.started[..] else { panic!("{:?}", records.started) };
    assert_eq!((tuning.1, ppo.0.as_str()), (1, "ppo"));
}

#[test]
fn a_value_model_that_nothing_uses_is_refused() {
    let prompts = prompts(2);
    let attempt = |change: fn(&mut PpoConfig)| {
        let decoder = policy(2).decoder;
        let head = ScalarHead::zeros(decoder.config().hidden_size, &decoder.device());
        let value = ValueStart { model: ScalarModel::new(decoder, head), mean: 0.0, std: 1.0 };
        let mut config = PpoConfig { value_model: ValueModel::Separate, ..small() };
        change(&mut config);
        let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts).with_value(value);
        let result = config.run(inputs, 1, &mut Silent, &mut NoCheckpoints);
        result.map(drop).map_err(|error| error.to_string())
    };
    attempt(|_| {}).unwrap();
    let message = attempt(|c| c.value_model = ValueModel::Shared).unwrap_err();
    assert!(message.starts_with("`value_model` is set, but it is not"), "{message}");
    let message = attempt(|c| c.advantage = Advantage::Rloo).unwrap_err();
    assert!(message.starts_with("`advantage` is set, but it takes no values"), "{message}");
}

#[test]
fn a_value_model_holds_every_token_and_position_that_a_rollout_may_have() {
    let prompts = prompts(2);
    let attempt = |change: fn(&mut ModelConfig)| {
        let mut shape = policy(2).decoder.config().clone();
        change(&mut shape);
        let decoder = Decoder::<B>::init(&shape, 2, &FlexDevice);
        let head = ScalarHead::zeros(shape.hidden_size, &FlexDevice);
        let value = ValueStart { model: ScalarModel::new(decoder, head), mean: 0.0, std: 1.0 };
        let config = PpoConfig { value_model: ValueModel::Separate, ..small() };
        let inputs = Inputs::new(policy(1), &vowels, &prompts).with_value(value);
        let result = config.run(inputs, 1, &mut Silent, &mut NoCheckpoints);
        result.map(drop).map_err(|error| error.to_string())
    };
    let message = attempt(|shape| shape.vocab_size -= 1).unwrap_err();
    let expected = "the value model knows 29 tokens, but the policy draws from 30";
    assert!(message.starts_with(expected), "{message}");
    attempt(|shape| shape.vocab_size += 1).unwrap();

    // The prompts have 3 tokens with their template, and the replies up to 6.
    let message = attempt(|shape| shape.max_position_embeddings = 8).unwrap_err();
    let id = prompts[0].id();
    for part in ["at most 8 tokens", id.as_str(), "has 3 and its reply up to 6"] {
        assert!(message.contains(part), "`{part}` is missing in: {message}");
    }
    attempt(|shape| shape.max_position_embeddings = 9).unwrap();
}

#[test]
fn a_group_of_an_optimiser_needs_a_parameter() {
    let grouped = |names: &str| {
        let group = ParameterGroup { names: vec![names.to_owned()], ..ParameterGroup::default() };
        OptimizerConfig { groups: vec![group], ..OptimizerConfig::default() }
    };
    let refused = |config: &PpoConfig| {
        let message = run(config, &vowels, &prompts(2)).unwrap_err().to_string();
        assert!(message.contains("layers.0."), "{message}");
        message
    };
    let shared = |names| PpoConfig { optimizer: grouped(names), ..small() };
    let separate = |names| PpoConfig { value_model: ValueModel::Separate, ..shared(names) };
    for config in [shared("critic.value_head"), separate("trunk.layers"), separate("value_head")] {
        run(&config, &vowels, &prompts(2)).unwrap();
    }
    assert!(refused(&shared("trunk.layers")).contains(r#"["trunk.layers"]"#));
    assert!(refused(&separate("critic")).contains(r#"["critic"]"#));
    // With settings of its own the value model is on its own.
    let own = PpoConfig { value_optimizer: Some(grouped("trunk")), ..separate("embedding") };
    run(&own, &vowels, &prompts(2)).unwrap();
    let own = PpoConfig { value_optimizer: Some(grouped("trunk")), ..separate("value_head") };
    assert!(refused(&own).contains(r#"["value_head"]"#));
    let own = PpoConfig { value_optimizer: Some(grouped("lm_head")), ..small() };
    let own = PpoConfig { value_model: ValueModel::Separate, ..own };
    let message = refused(&own);
    assert!(message.contains(r#"["lm_head"]"#), "{message}");
    assert!(message.starts_with("`value_optimizer.groups`: "), "{message}");
}

#[test]
fn refuses_scores_that_are_missing_or_not_finite() {
    struct Short;
    impl Reward for Short {
        fn reward(&self, dialogues: &[Dialogue]) -> Result<Vec<f32>, language_model::Error> {
            Ok(vec![0.0; dialogues.len() - 1])
        }
    }
    let error = |reward: &dyn Reward| run(&small(), reward, &prompts(2)).unwrap_err();
    assert!(matches!(error(&Short), Error::Scores { expected: 6, found: 5 }));
    let found = error(&|_: &Dialogue| f32::NAN);
    assert!(matches!(found, Error::Score { phase: Phase::Iteration(1), .. }), "{found}");
    assert!(found.to_string().contains("in iteration 1, expected"), "{found}");
    assert!(found.to_string().contains("fit it again"), "{found}");

    let found = run(&with_a_start(), &|_: &Dialogue| f32::NAN, &prompts(2)).unwrap_err();
    assert!(matches!(found, Error::Score { phase: Phase::Start, .. }), "{found}");
    let expected = "before the first iteration, in `best_of_n_start`, expected";
    assert!(found.to_string().contains(expected), "{found}");
}

#[test]
fn a_score_beyond_reason_stops_the_run_with_its_iteration() {
    let mut config = small();
    config.whiten_advantages.over = Over::Nothing;
    let error = run(&config, &|_: &Dialogue| f32::MAX, &prompts(2)).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("ppo") && message.contains("step 1"), "{message}");
}

#[test]
fn a_failing_callback_is_named() {
    let mut after = |_: &Iteration<'_, _>| -> Result<ControlFlow<()>, CallbackError> {
        Err("disk full".into())
    };
    let prompts = prompts(2);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
    let error =
        small().run_with(inputs, 1, &mut Silent, &mut NoCheckpoints, &mut after).unwrap_err();
    assert!(error.to_string().contains("iteration 1 failed: disk full"), "{error}");
}

/// Leaves no weight a number.
struct Damage;

impl<A: Backend> ModuleMapper<A> for Damage {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<A, D>>) -> Param<Tensor<A, D>> {
        let (id, tensor, mapper) = param.consume();
        let damaged = tensor.mul_scalar(f32::NAN).detach().require_grad();
        Param::from_mapped_value(id, damaged, mapper)
    }
}

#[test]
fn a_policy_that_computes_no_numbers_stops_the_run_with_when_and_what_to_do() {
    let prompts = prompts(5);
    for (config, phase) in [(small(), Phase::Iteration(1)), (with_a_start(), Phase::Start)] {
        let Transformer { decoder, codec, engine } = policy(1);
        let damaged = Transformer { decoder: decoder.map(&mut Damage), codec, engine };
        let inputs = Inputs::<B>::new(damaged, &vowels, &prompts);
        let error = config.run(inputs, 1, &mut Silent, &mut NoCheckpoints).unwrap_err();
        assert!(
            matches!(error, Error::NotFinite { phase: found, .. } if found == phase),
            "{error}"
        );
        let message = error.to_string();
        let when = format!("{phase}, for dialogue");
        for part in [when.as_str(), "begin the stage anew", "lower learning rate", "are damaged"] {
            assert!(message.contains(part), "`{part}` is missing in: {message}");
        }
    }
}

#[test]
fn a_callback_that_meets_a_policy_without_numbers_tells_the_same() {
    let mut after = |_: &Iteration<'_, _>| -> Result<ControlFlow<()>, CallbackError> {
        let id = "7".to_owned();
        Err(language_model::Error::NotFinite { what: "a logit", id }.into())
    };
    let prompts = prompts(2);
    let inputs = Inputs::<B>::new(policy(1), &vowels, &prompts);
    let error =
        small().run_with(inputs, 1, &mut Silent, &mut NoCheckpoints, &mut after).unwrap_err();
    let message = error.to_string();
    let expected = "a logit is not finite after the update of iteration 1, for dialogue 7";
    assert!(message.starts_with(expected) && message.contains("learning rate"), "{message}");
}

#[test]
fn a_last_update_that_diverges_gives_no_policy() {
    let one = PpoConfig { iterations: 1, epochs: 1, minibatches: 1, ..small() };
    let far = OptimizerConfig::default().with_learning_rate(1e30);
    let policy = PpoConfig { optimizer: far.clone(), ..one.clone() };
    let value_model = ValueModel::Separate;
    let value = PpoConfig { value_model, value_optimizer: Some(far.clone()), ..one.clone() };
    let near = Some(OptimizerConfig::default());
    let policy_alone = PpoConfig { optimizer: far, value_model, value_optimizer: near, ..one };
    for config in [policy, policy_alone, value] {
        let mut records = Records::default();
        let prompts = prompts(3);
        let inputs = Inputs::<B>::new(crate::test_support::policy(1), &vowels, &prompts);
        let error = config.run(inputs, 1, &mut records, &mut NoCheckpoints).unwrap_err();
        let message = error.to_string();
        let by_number = message.contains("is not finite after the update of iteration 1");
        let by_weight = message.contains("at step 1 of ppo: training has diverged");
        assert!((by_number || by_weight) && !records.finished, "{message}");
        // Which of two optimisers it was.
        if let Some(own) = &config.value_optimizer {
            let of_values = own.learning_rate > config.optimizer.learning_rate;
            assert_eq!(error.is_of_value_function(), of_values, "{message}");
        }
    }
}
