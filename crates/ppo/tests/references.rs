//! The numerics against those of TRL and `OpenRLHF`, whose own functions made the fixtures, and the presets against the
//! settings of both and of verl; see `fixtures/README.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::backend::Autodiff;
use burn::prelude::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use ppo::{
    Advantage, Aggregation, Clip, Counts, Estimates, Experience, KlEstimator, KlPlace, Over,
    PpoConfig, Preset, ValueModel, Variance, Whitening, adapted_coefficient, approximate_kl,
    clip_fraction, importance_weights, kl_loss, kl_per_token, policy_loss, value_loss, whiten,
};
use serde_json::{Value, json};
use training::{Decay, OptimizerConfig, Schedule, WarmUp};
use transformer::{Array, Decoder, ModelConfig, Targets, token_log_probs_and_entropy};

type B = Autodiff<Flex>;

/// The largest difference from the references, relative to the larger of 1 and the number.
const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[expect(clippy::cast_possible_truncation, reason = "the references' numbers have 32 bits")]
fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn list<T>(value: &Value, of: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(of).collect()
}

fn row(value: &Value) -> Vec<f32> {
    list(value, number)
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    list(value, row)
}

/// One entry of every row of a case.
fn column(case: &Value, name: &str) -> Vec<Vec<f32>> {
    list(&case["rows"], |entry| row(&entry[name]))
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn assert_near(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    let error = (found - expected).abs();
    assert!(error <= TOLERANCE * expected.abs().max(1.0), "{what}: {found} is not {expected}");
}

fn assert_rows(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len(), "{what} {place}");
        for (found, expected) in found.iter().zip(expected) {
            let error = f64::from((found - expected).abs());
            let limit = TOLERANCE * f64::from(expected.abs().max(1.0));
            assert!(error <= limit, "{what} {place}: {found} is not {expected}");
        }
    }
}

fn tensor(row: &[f32]) -> Tensor<B, 1> {
    Tensor::from_floats(row, &FlexDevice)
}

/// A loss of flat numbers, and its gradient as rows of these lengths.
fn with_gradient(
    new: &[Vec<f32>],
    loss: impl Fn(Tensor<B, 1>) -> Tensor<B, 1>,
) -> (f64, Vec<Vec<f32>>) {
    let leaf = tensor(&new.concat()).require_grad();
    let loss = loss(leaf.clone());
    let value = f64::from(loss.clone().inner().into_scalar());
    let gradient: Vec<f32> = leaf.grad(&loss.backward()).unwrap().into_data().to_vec().unwrap();
    let mut rest = gradient.as_slice();
    let rows = new.iter().map(|row| {
        let (own, others) = rest.split_at(row.len());
        rest = others;
        own.to_vec()
    });
    (value, rows.collect())
}

/// The weight of every number of these rows.
fn weights(aggregation: Aggregation, rows: &[Vec<f32>]) -> Vec<f32> {
    let tokens = rows.iter().map(Vec::len).sum();
    let (replies, round_tokens) = (rows.len(), tokens);
    let counts = Counts { replies, tokens, round_tokens, minibatches: 1, max_tokens: 12 };
    let of = |row: &Vec<f32>| vec![aggregation.weight(row.len(), &counts); row.len()];
    rows.iter().flat_map(of).collect()
}

fn estimator(name: &Value) -> KlEstimator {
    serde_json::from_value(name.clone()).unwrap()
}

/// TRL's settings of a case, on top of the preset.
fn trl_config(settings: &Value) -> PpoConfig {
    let mut config = PpoConfig::preset(Preset::Trl);
    let over =
        if settings["whiten_rewards"].as_bool().unwrap() { Over::Round } else { Over::Nothing };
    config.whiten_rewards.over = over;
    config.kl_estimator = estimator(&settings["kl_estimator"]);
    config.kl_coefficient = number(&settings["kl_coef"]);
    config.gamma = number(&settings["gamma"]);
    config.lambda = number(&settings["lam"]);
    (config.clip_low, config.clip_high) =
        (number(&settings["cliprange"]), number(&settings["cliprange"]));
    config.value_clip = number(&settings["cliprange_value"]);
    config
}

fn estimates(case: &Value) -> Estimates {
    let log_probs = column(case, "log_probs");
    let values = list(&case["rows"], |entry| match entry.get("values") {
        Some(values) => row(values),
        None => vec![0.0; row(&entry["log_probs"]).len()],
    });
    Estimates {
        engine_log_probs: log_probs.clone(),
        log_probs,
        reference_log_probs: column(case, "reference_log_probs"),
        values,
        entropies: Vec::new(),
    }
}

/// The same with numbers as those of 32 bits, whether a reference writes them as whole ones or not.
fn single(value: &Value) -> Value {
    match value {
        Value::Number(_) => json!(number(value)),
        Value::Array(values) => values.iter().map(single).collect(),
        other => other.clone(),
    }
}

/// The settings of a reference against ours under their names, and that there are no others.
fn assert_settings(fixture: &Value, ours: &[(String, Value)]) {
    let theirs = fixture["settings"].as_object().unwrap();
    for (name, ours) in ours {
        assert_eq!(theirs.get(name).map(single), Some(single(ours)), "{name}");
    }
    let named = |theirs: &&String| ours.iter().any(|(name, _)| name == *theirs);
    let unnamed: Vec<&String> = theirs.keys().filter(|name| !named(name)).collect();
    assert!(unnamed.is_empty(), "{unnamed:?}");
}

fn owned<const N: usize>(settings: [(&str, Value); N]) -> Vec<(String, Value)> {
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A setting that the references call none where ours is 0.
fn unless_zero(number: f32) -> Value {
    json!((number > 0.0).then_some(number))
}

/// The optimisers of policy and value model by the references' names of both networks.
fn of_networks<'a>(
    config: &'a PpoConfig,
    [policy, value]: [&'a str; 2],
) -> [(&'a str, &'a OptimizerConfig); 2] {
    [(policy, &config.optimizer), (value, config.value_optimizer.as_ref().unwrap())]
}

#[test]
fn trl_defaults() {
    let ours = PpoConfig::preset(Preset::Trl);
    let optimizer = &ours.optimizer;
    let settings = owned([
        ("temperature", json!(ours.temperature)),
        ("kl_coef", json!(ours.kl_coefficient)),
        ("kl_estimator", json!(ours.kl_estimator)),
        ("missing_eos_penalty", unless_zero(ours.missing_end_penalty)),
        ("whiten_rewards", json!(ours.whiten_rewards.over != Over::Nothing)),
        ("gamma", json!(ours.gamma)),
        ("lam", json!(ours.lambda)),
        ("num_ppo_epochs", json!(ours.epochs)),
        ("num_mini_batches", json!(ours.minibatches)),
        ("cliprange", json!(ours.clip_low)),
        ("cliprange_value", json!(ours.value_clip)),
        ("vf_coef", json!(ours.value_coefficient)),
        ("learning_rate", json!(optimizer.learning_rate)),
        ("lr_scheduler_type", json!(ours.schedule.decay)),
        ("warmup_ratio", json!(0)),
        ("warmup_steps", json!(0)),
        ("adam_beta1", json!(optimizer.beta_1)),
        ("adam_beta2", json!(optimizer.beta_2)),
        ("adam_epsilon", json!(optimizer.epsilon)),
        ("weight_decay", json!(optimizer.weight_decay)),
    ]);
    assert_settings(&fixture("trl_defaults.json"), &settings);
    assert_eq!(ours.clip_high.to_bits(), ours.clip_low.to_bits());
    // One optimiser for both networks, whose rate falls to 0 from the first step on.
    assert_eq!(ours.value_optimizer, None);
    assert_eq!(ours.schedule, Schedule::linear());
}

/// How many are drawn is ours, so that of their batches the optimiser steps a pass alone are compared. The clamp of the KL,
/// where the score goes and the whitening are in their functions, not in their settings.
#[test]
fn openrlhf_defaults() {
    let ours = PpoConfig::preset(Preset::OpenRlhf);
    let clip = ours.score_clip.unwrap();
    let WarmUp::Share(warm_up) = ours.schedule.warm_up else {
        panic!("{:?} is no share", ours.schedule.warm_up);
    };
    let is_unscaled = ours.whiten_advantages.over == Over::Nothing;
    let mut settings = owned([
        ("rollout.temperature", json!(ours.temperature)),
        ("rollout.top_p", json!(1)),
        ("rollout.batch_size", json!(128 * ours.minibatches)),
        ("rollout.n_samples_per_prompt", json!(1)),
        ("reward.clip_range", json!([-clip, clip])),
        ("reward.normalize_enable", json!(false)),
        ("reward.overlong_buffer_len", json!(null)),
        ("reward.stop_properly_penalty_coef", unless_zero(ours.missing_end_penalty)),
        ("algo.kl.init_coef", json!(ours.kl_coefficient)),
        ("algo.kl.target", json!(ours.kl_target)),
        ("algo.kl.estimator", json!(ours.kl_estimator)),
        ("algo.kl.use_loss", json!(ours.kl_place == KlPlace::Loss)),
        ("algo.advantage.estimator", json!(ours.advantage)),
        ("algo.advantage.gamma", json!(ours.gamma)),
        ("algo.advantage.lambd", json!(ours.lambda)),
        ("algo.advantage.no_std_norm", json!(is_unscaled)),
        ("algo.advantage.is_correction_level", json!("off")),
        ("train.batch_size", json!(128)),
        ("train.max_epochs", json!(ours.epochs)),
        ("critic.freezing_steps", json!(-1)),
        ("critic.value_clip", json!(ours.value_clip)),
        ("actor.policy_loss_type", json!("ppo")),
        ("actor.loss_agg_mode", json!("token-mean")),
        ("actor.eps_clip_low_high", json!([ours.clip_low, ours.clip_high])),
        ("actor.dual_clip", json!(ours.dual_clip)),
        ("actor.entropy_coef", unless_zero(ours.entropy_coefficient)),
    ]);
    for (network, optimizer) in of_networks(&ours, ["actor", "critic"]) {
        let of_network = [
            ("optim", json!("adam")),
            ("adam.lr", json!(optimizer.learning_rate)),
            ("adam.betas", json!([optimizer.beta_1, optimizer.beta_2])),
            ("adam.eps", json!(optimizer.epsilon)),
            ("adam.weight_decay", json!(optimizer.weight_decay)),
            ("lr_scheduler", json!("cosine_with_min_lr")),
            ("lr_warmup_ratio", json!(warm_up)),
            ("min_lr_ratio", json!(ours.schedule.floor)),
            ("max_norm", json!(optimizer.clip_norm)),
        ];
        settings.extend(of_network.map(|(name, value)| (format!("{network}.{name}"), value)));
    }
    assert_settings(&fixture("openrlhf_defaults.json"), &settings);
    assert_eq!(ours.schedule.decay, Decay::Cosine);
    assert_eq!((ours.aggregation, ours.rollout_correction), (Aggregation::Token, None));
    assert_eq!(ours.value_model, ValueModel::Separate);
}

/// How many are drawn is ours, so that of their batches the optimiser steps a pass alone are compared. The whitening is in
/// their functions, not in their settings.
#[test]
fn verl_defaults() {
    let fixture = fixture("verl_defaults.json");
    let ours = PpoConfig::preset(Preset::Verl);
    let has_kl = |place: KlPlace| ours.kl_coefficient > 0.0 && ours.kl_place == place;
    let mut settings = owned([
        ("data.train_batch_size", json!(256 * ours.minibatches)),
        ("algorithm.adv_estimator", json!(ours.advantage)),
        ("algorithm.gamma", json!(ours.gamma)),
        ("algorithm.lam", json!(ours.lambda)),
        ("algorithm.use_kl_in_reward", json!(has_kl(KlPlace::Reward))),
        ("algorithm.rollout_correction.rollout_is", json!(ours.rollout_correction)),
        ("algorithm.rollout_correction.rollout_rs", json!(null)),
        ("trainer.critic_warmup", json!(0)),
        ("actor_rollout_ref.rollout.temperature", json!(ours.temperature)),
        ("actor_rollout_ref.rollout.top_k", json!(-1)),
        ("actor_rollout_ref.rollout.top_p", json!(1)),
        ("actor_rollout_ref.actor.ppo_epochs", json!(ours.epochs)),
        ("actor_rollout_ref.actor.ppo_mini_batch_size", json!(256)),
        ("actor_rollout_ref.actor.policy_loss.loss_mode", json!("vanilla")),
        ("actor_rollout_ref.actor.loss_agg_mode", json!("token-mean")),
        ("actor_rollout_ref.actor.clip_ratio_low", json!(ours.clip_low)),
        ("actor_rollout_ref.actor.clip_ratio_high", json!(ours.clip_high)),
        ("actor_rollout_ref.actor.clip_ratio_c", json!(ours.dual_clip)),
        ("actor_rollout_ref.actor.entropy_coeff", json!(ours.entropy_coefficient)),
        ("actor_rollout_ref.actor.use_kl_loss", json!(has_kl(KlPlace::Loss))),
        ("critic.ppo_epochs", json!(ours.epochs)),
        ("critic.ppo_mini_batch_size", json!(256)),
        ("critic.loss_agg_mode", json!("token-mean")),
        ("critic.cliprange_value", json!(ours.value_clip)),
    ]);
    for (network, optimizer) in of_networks(&ours, ["actor_rollout_ref.actor", "critic"]) {
        let of_network = [
            ("optimizer", json!("AdamW")),
            ("optimizer_impl", json!("torch.optim")),
            ("lr", json!(optimizer.learning_rate)),
            ("betas", json!([optimizer.beta_1, optimizer.beta_2])),
            ("weight_decay", json!(optimizer.weight_decay)),
            ("clip_grad", json!(optimizer.clip_norm)),
            ("lr_scheduler_type", json!(ours.schedule.decay)),
            ("lr_warmup_steps", json!(-1)),
            ("lr_warmup_steps_ratio", json!(0)),
            ("override_optimizer_config", json!(null)),
        ];
        settings.extend(of_network.map(|(name, value)| (format!("{network}.optim.{name}"), value)));
        assert_eq!(single(&fixture["adamw"]["eps"]), single(&json!(optimizer.epsilon)));
    }
    assert_settings(&fixture, &settings);
    assert_eq!(ours.schedule, Schedule::constant());
    assert_eq!(ours.aggregation, Aggregation::Token);
    assert_eq!(ours.value_model, ValueModel::Separate);
}

#[test]
fn trl_rewards_advantages_and_returns() {
    let trl = fixture("trl.json");
    for (name, case) in trl["cases"].as_object().unwrap() {
        let config = trl_config(&case["settings"]);
        let estimates = estimates(case);
        let scores: Vec<f32> = list(&case["rows"], |entry| number(&entry["penalised_score"]));
        let found = Experience::new(&config, config.kl_coefficient, &estimates, &scores);
        assert_rows(&found.rewards, &column(case, "rewards"), &format!("{name}: rewards"));
        assert_rows(&found.advantages, &column(case, "advantages"), &format!("{name}: advantages"));
        assert_rows(&found.returns, &column(case, "returns"), &format!("{name}: returns"));
        for entry in case["rows"].as_array().unwrap() {
            let (policy, reference) =
                (row(&entry["log_probs"]), row(&entry["reference_log_probs"]));
            let kl = kl_per_token(&policy, &reference, config.kl_estimator, None);
            assert_rows(&[kl], &[row(&entry["kl"])], &format!("{name}: KL"));
        }
    }
}

#[test]
fn trl_losses_and_their_gradients() {
    let trl = fixture("trl.json");
    for (name, case) in trl["cases"].as_object().unwrap() {
        let config = trl_config(&case["settings"]);
        let coefficient = number(&case["settings"]["vf_coef"]);
        let width = index(&case["settings"]["width"]);
        for update in case["updates"].as_array().unwrap() {
            let of: Vec<usize> = list(&update["rows"], index);
            let take = |column: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
                of.iter().map(|&row| column[row].clone()).collect()
            };
            let old = take(column(case, "log_probs"));
            let advantages = take(column(case, "advantages"));
            let new = rows(&update["new_log_probs"]);
            let clip = Clip { low: config.clip_low, high: config.clip_high, dual: None };
            let (loss, gradient) = with_gradient(&new, |new| {
                let weights = tensor(&weights(Aggregation::Token, &old));
                policy_loss(new, tensor(&old.concat()), tensor(&advantages.concat()), weights, clip)
            });
            assert_near(loss, &update["policy_loss"], &format!("{name}: policy loss"));
            // Where a ratio is 1 up to rounding the maximum may take either side; both have the same gradient.
            assert_rows(&gradient, &rows(&update["policy_gradient"]), &format!("{name}: gradient"));

            let [values, returns] = ["values", "returns"].map(|name| take(column(case, name)));
            let (loss, gradient) = with_gradient(&rows(&update["new_values"]), |new| {
                let weights = tensor(&weights(Aggregation::Token, &values));
                let (old, returns) = (tensor(&values.concat()), tensor(&returns.concat()));
                value_loss(new, old, returns, weights, config.value_clip) * coefficient
            });
            let whole = update["value_loss"].as_f64().unwrap() * f64::from(coefficient);
            assert_near(loss, &whole.into(), &format!("{name}: value loss"));
            assert_rows(&gradient, &rows(&update["value_gradient"]), &format!("{name}: gradient"));

            let (new, old) = (new.concat(), old.concat());
            let found = clip_fraction(&new, &old, &advantages.concat(), clip);
            assert_near(found, &update["clip_fraction"], &format!("{name}: clip fraction"));
            // Theirs runs over padding too, where nothing has moved.
            let padded = (of.len() * width) as f64;
            let found = approximate_kl(&new, &old) * new.len() as f64 / padded;
            assert_near(
                found,
                &update["approx_kl_with_padding"],
                &format!("{name}: approximate KL"),
            );
        }
    }
}

#[test]
fn trl_whitening() {
    for case in fixture("trl.json")["whiten"].as_array().unwrap() {
        let mut found = rows(&case["rows"]);
        whiten(&mut found, Variance::Unbiased, case["shift_mean"].as_bool().unwrap());
        assert_rows(&found, &rows(&case["whitened"]), "whitening");
    }
}

#[test]
fn openrlhf_kl() {
    let fixture = fixture("openrlhf.json");
    let kl = &fixture["kl"];
    let (policy, reference) = (rows(&kl["log_probs"]), rows(&kl["reference_log_probs"]));
    for name in ["k1", "k2", "k3"] {
        let estimator = estimator(&name.into());
        let pairs = policy.iter().zip(&reference);
        let found: Vec<Vec<f32>> =
            pairs.map(|(one, other)| kl_per_token(one, other, estimator, Some(10.0))).collect();
        assert_rows(&found, &rows(&kl[name]), name);
    }
}

#[test]
fn openrlhf_kl_in_the_loss() {
    let fixture = fixture("openrlhf.json");
    let all = &fixture["kl_loss"];
    let (new, reference) = (rows(&all["log_probs"]), rows(&all["reference_log_probs"]));
    let mut tried = 0;
    for case in all["cases"].as_array().unwrap() {
        // A gradient that is not that of the loss is their own invention.
        if case["unbiased_gradient"].as_bool().unwrap() {
            continue;
        }
        let (loss, gradient) = with_gradient(&new, |tensor_of| {
            let weights = tensor(&weights(Aggregation::Token, &new));
            let estimator = estimator(&case["estimator"]);
            kl_loss(tensor_of, tensor(&reference.concat()), weights, estimator, Some(10.0))
        });
        assert_near(loss, &case["loss"], "KL loss");
        assert_rows(&gradient, &rows(&case["gradient"]), "KL gradient");
        tried += 1;
    }
    assert_eq!(tried, 3);
}

#[test]
fn openrlhf_advantages() {
    let fixture = fixture("openrlhf.json");
    let mut tried = 0;
    for (name, case) in fixture["experience"].as_object().unwrap() {
        let settings = &case["settings"];
        let mut config = PpoConfig::preset(Preset::OpenRlhf);
        config.advantage = match settings["estimator"].as_str().unwrap() {
            "gae" => Advantage::Gae,
            "rloo" => Advantage::Rloo,
            "group_norm" => Advantage::GroupNormalised,
            "reinforce_baseline" | "dr_grpo" => Advantage::GroupCentred,
            // Without any baseline; minus the mean of the batch: not offered.
            "reinforce" | "flash_reinforce" => continue,
            other => panic!("{other}"),
        };
        // Theirs can leave out the division alone.
        if settings["no_std_norm"].as_bool().unwrap() {
            continue;
        }
        if !matches!(settings["estimator"].as_str(), Some("gae" | "reinforce_baseline")) {
            config.whiten_advantages = Whitening { over: Over::Nothing, ..Whitening::default() };
        }
        config.gamma = number(&settings["gamma"]);
        config.lambda = number(&settings["lambda"]);
        config.kl_estimator = estimator(&settings["kl_estimator"]);
        let [low, high] = [0, 1].map(|end| number(&settings["reward_clip_range"][end]));
        config.score_clip = Some(high);
        config.samples_per_prompt = index(&settings["samples_per_prompt"]);
        let mut scores: Vec<f32> = list(&case["rows"], |entry| number(&entry["penalised_score"]));
        if config.advantage == Advantage::Gae {
            // Ours is as far on both sides; without a baseline it makes no odds when a score is clipped.
            for score in &mut scores {
                *score = score.clamp(low, high);
            }
        } else {
            assert!((low + high).abs() < f32::EPSILON, "{name}");
        }
        let coefficient = number(&settings["kl_coefficient"]);
        let found = Experience::new(&config, coefficient, &estimates(case), &scores);
        assert_rows(&found.rewards, &column(case, "rewards"), &format!("{name}: rewards"));
        assert_rows(&found.advantages, &column(case, "advantages"), &format!("{name}: advantages"));
        if config.advantage == Advantage::Gae {
            assert_rows(&found.returns, &column(case, "returns"), &format!("{name}: returns"));
        }
        tried += 1;
    }
    assert!(tried >= 11, "{tried}");
}

#[test]
fn openrlhf_policy_losses() {
    let fixture = fixture("openrlhf.json");
    let all = &fixture["policy_loss"];
    let mut tried = 0;
    for (name, case) in all["cases"].as_object().unwrap() {
        let settings = &case["settings"];
        let corrected = settings["is_correction_level"] != "off";
        let clipped_at_the_top = settings["is_correction_mode"] == "clip"
            && settings["is_correction_level"] == "token"
            && number(&settings["is_correction_threshold"][0]) <= 0.0;
        // Sequence ratios, and corrections that leave tokens out, are not offered.
        if settings["policy_loss_type"] != "ppo" || (corrected && !clipped_at_the_top) {
            continue;
        }
        let inputs = case.get("inputs").unwrap_or(&all["inputs"]);
        let [new, old, advantages] =
            ["log_probs", "old_log_probs", "advantages"].map(|name| rows(&inputs[name]));
        let token_mean = settings["token_level_loss"].as_bool().unwrap();
        let aggregation = if token_mean { Aggregation::Token } else { Aggregation::Sequence };
        let mut weights = weights(aggregation, &new);
        if corrected {
            let engine = rows(&inputs["rollout_log_probs"]).concat();
            let cap = number(&settings["is_correction_threshold"][1]);
            let by = importance_weights(&old.concat(), &engine, cap);
            weights.iter_mut().zip(by).for_each(|(weight, by)| *weight *= by);
        }
        let clip = Clip {
            low: number(&settings["clip_eps_low"]),
            high: number(&settings["clip_eps_high"]),
            dual: settings["dual_clip"].as_f64().map(|_| number(&settings["dual_clip"])),
        };
        let (loss, gradient) = with_gradient(&new, |new| {
            let (old, advantages) = (tensor(&old.concat()), tensor(&advantages.concat()));
            policy_loss(new, old, advantages, tensor(&weights), clip)
        });
        assert_near(loss, &case["step_loss"], name);
        assert_rows(&gradient, &rows(&case["gradient"]), name);
        tried += 1;
    }
    assert_eq!(tried, 7);
}

#[test]
fn openrlhf_value_losses() {
    let fixture = fixture("openrlhf.json");
    let all = &fixture["value_loss"];
    let [values, old, returns] =
        ["values", "old_values", "returns"].map(|name| rows(&all["inputs"][name]));
    for case in all["cases"].as_array().unwrap() {
        let token_mean = case["token_level_loss"].as_bool().unwrap();
        let aggregation = if token_mean { Aggregation::Token } else { Aggregation::Sequence };
        let clip = case["clip"].as_f64().map_or(f32::MAX, |_| number(&case["clip"]));
        let weights = weights(aggregation, &values);
        let (loss, gradient) = with_gradient(&values, |values| {
            let (old, returns) = (tensor(&old.concat()), tensor(&returns.concat()));
            value_loss(values, old, returns, tensor(&weights), clip)
        });
        assert_near(loss, &case["step_loss"], "value loss");
        assert_rows(&gradient, &rows(&case["gradient"]), "value gradient");
    }
}

/// A decoder whose hidden states are its logits.
fn identity(width: usize) -> Decoder<Flex> {
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {width}, "hidden_size": {width}, "intermediate_size": {width},
            "num_hidden_layers": 1, "num_attention_heads": 1, "tie_word_embeddings": false}}"#
    );
    let config = ModelConfig::from_json(&json, "config.json").unwrap();
    let mut weights = Decoder::<Flex>::init(&config, 1, &FlexDevice).weights();
    let data = (0..width * width).map(|at| f32::from(u8::from(at / width == at % width))).collect();
    weights.insert("lm_head.weight", Array { shape: vec![width, width], data });
    Decoder::from_weights(&config, &mut weights, &FlexDevice).unwrap()
}

/// Log-probs and entropies of tokens under these logits, one row of them a token.
fn under(logits: &[Vec<f32>], tokens: &[u32], temperature: f32) -> [Vec<f32>; 2] {
    let (count, width) = (logits.len(), logits[0].len());
    let data = TensorData::new(logits.concat(), [1, count, width]);
    let hidden = Tensor::<Flex, 3>::from_data(data, &FlexDevice) / temperature;
    let targets = Targets { positions: (0..count).collect(), tokens: tokens.to_vec() };
    let (log_probs, entropies) = token_log_probs_and_entropy(&identity(width), hidden, &targets);
    [log_probs, entropies].map(|numbers| numbers.into_data().to_vec().unwrap())
}

#[test]
fn trl_entropies() {
    let fixture = fixture("trl.json");
    let logits = rows(&fixture["entropy"]["logits"]);
    let [_, found] = under(&logits, &vec![0; logits.len()], 1.0);
    assert_rows(&[found], &[row(&fixture["entropy"]["entropies"])], "entropy");
}

#[test]
fn openrlhf_entropies_and_log_probs() {
    let fixture = fixture("openrlhf.json");
    let all = &fixture["entropy"];
    let token = |token: &Value| u32::try_from(token.as_u64().unwrap()).unwrap();
    for (place, logits) in all["logits"].as_array().unwrap().iter().enumerate() {
        let tokens: Vec<u32> = list(&all["tokens"][place], token);
        let [log_probs, entropies] = under(&rows(logits), &tokens, 1.0);
        assert_rows(&[entropies], &[row(&all["entropies"][place])], "entropy");
        assert_rows(&[log_probs], &[row(&all["log_probs"][place])], "log-probs");
        let [colder, _] = under(&rows(logits), &tokens, 0.7);
        assert_rows(&[colder], &[row(&all["log_probs_at_0.7"][place])], "log-probs at 0.7");
    }
}

#[test]
fn openrlhf_adaptive_coefficient() {
    for case in fixture("openrlhf.json")["adaptive_kl"].as_array().unwrap() {
        let of = |value: &Value| value.as_f64().unwrap();
        let mut coefficient = of(&case["coefficient"]);
        for step in case["steps"].as_array().unwrap() {
            coefficient = adapted_coefficient(
                coefficient,
                of(&step["kl"]),
                of(&case["target"]),
                of(&step["replies"]),
                of(&case["horizon"]),
            );
            assert_near(coefficient, &step["coefficient"], "coefficient");
        }
    }
}
