//! A whole update against TRL's: the same models, the same rollout, one optimiser step, the same weights.

use crate::actor_critic::{ActorCritic, Critic};
use crate::estimate::estimate;
use crate::rollout::{Rollout, penalised};
use crate::test_support::{B, assert_close, flat};
use crate::update::{Learner, Round};
use crate::{Experience, Over, PpoConfig, Preset, ScorePlace, ValueStart};
use burn::module::AutodiffModule;
use burn_flex::FlexDevice;
use dialogue::Dialogue;
use language_model::{StopReason, stream};
use serde_json::Value;
use std::path::{Path, PathBuf};
use transformer::{Decoder, ModelConfig, ScalarHead, ScalarModel, Weights};

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trl_update").join(case)
}

const WEIGHTS: &str = "model.safetensors";

/// A decoder of the shape that a folder describes, with the numbers of a file.
fn read(folder: &Path, numbers: &Path) -> Decoder<B> {
    let config = ModelConfig::from_folder(folder).unwrap();
    let mut weights = Weights::from_file(numbers).unwrap();
    Decoder::from_weights(&config, &mut weights, &FlexDevice).unwrap()
}

/// The same with a head, as a value function of its own.
fn critic_of(folder: &Path, numbers: &Path) -> Critic<B> {
    let config = ModelConfig::from_folder(folder).unwrap();
    let mut weights = Weights::from_file(numbers).unwrap();
    let decoder = Decoder::from_weights(&config, &mut weights, &FlexDevice).unwrap();
    let head = weights.take("score.weight", &[1, config.hidden_size]).unwrap();
    let model = ScalarModel::new(decoder.clone(), ScalarHead::from_weight(head, &FlexDevice));
    Critic::separate(&decoder, Some(ValueStart { model, mean: 0.0, std: 1.0 }))
}

fn actor_of(policy: PathBuf, value: PathBuf) -> ActorCritic<B> {
    let decoder = read(&policy, &policy.join(WEIGHTS));
    ActorCritic { decoder, critic: critic_of(&value, &value.join(WEIGHTS)) }
}

#[expect(clippy::cast_possible_truncation, reason = "the reference's numbers have 32 bits")]
fn row(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn tokens(value: &Value) -> Vec<u32> {
    let token = |token: &Value| u32::try_from(token.as_u64().unwrap()).unwrap();
    value.as_array().unwrap().iter().map(token).collect()
}

fn config(settings: &Value) -> PpoConfig {
    let number = |name: &str| settings[name].as_f64().unwrap();
    #[expect(clippy::cast_possible_truncation, reason = "settings have 32 bits")]
    let single = |name: &str| settings[name].as_f64().unwrap() as f32;
    let mut config = PpoConfig {
        temperature: single("temperature"),
        missing_end_penalty: single("missing_eos_penalty"),
        max_tokens: usize::try_from(settings["width"].as_u64().unwrap()).unwrap(),
        epochs: 1,
        prompts_per_iteration: 8,
        samples_per_prompt: 1,
        ..PpoConfig::preset(Preset::Trl)
    };
    if settings["whiten_rewards"].as_bool().unwrap() {
        config.whiten_rewards.over = Over::Round;
    }
    config.optimizer.learning_rate = number("learning_rate");
    config
}

fn rollout(entry: &Value, config: &PpoConfig) -> Rollout {
    let (prompt, response) = (tokens(&entry["prompt"]), tokens(&entry["response"]));
    let ended = entry["ended"].as_bool().unwrap();
    Rollout {
        prompt: Dialogue::from_user("q"),
        reply: String::new(),
        reply_start: prompt.len(),
        engine_log_probs: row(&entry["log_probs"]),
        slots_after: ScorePlace::AfterLast.slots_after(response.len(), config.max_tokens),
        tokens: [prompt, response].concat(),
        stopped: if ended { StopReason::Stop } else { StopReason::Length },
    }
}

fn one_update(case: &str) {
    let folder = folder(case);
    let text = std::fs::read_to_string(folder.join("case.json")).unwrap();
    let known: Value = serde_json::from_str(&text).unwrap();
    let config = config(&known["settings"]);
    let entries = known["rows"].as_array().unwrap();
    let rollouts: Vec<Rollout> = entries.iter().map(|entry| rollout(entry, &config)).collect();

    let actor = actor_of(folder.join("policy"), folder.join("value"));
    let reference = folder.join("reference");
    let reference = read(&reference, &reference.join(WEIGHTS)).valid();
    let before = flat(&actor.valid());

    let estimates = estimate(&actor.valid(), &reference, &rollouts, &config).unwrap();
    let column =
        |name: &str| entries.iter().flat_map(|entry| row(&entry[name])).collect::<Vec<_>>();
    assert_close(&estimates.log_probs.concat(), &column("log_probs"), 1e-5);
    assert_close(&estimates.reference_log_probs.concat(), &column("reference_log_probs"), 1e-5);
    assert_close(&estimates.values.concat(), &column("values"), 1e-5);

    let scores: Vec<f32> =
        entries.iter().map(|entry| row(&Value::Array(vec![entry["score"].clone()]))[0]).collect();
    let scores = penalised(&rollouts, &scores, config.missing_end_penalty);
    let experience = Experience::new(&config, config.kl_coefficient, &estimates, &scores);
    assert_close(&experience.advantages.concat(), &column("advantages"), 2e-5);
    assert_close(&experience.returns.concat(), &column("returns"), 2e-5);

    let round = Round {
        iteration: 1,
        rollouts: &rollouts,
        estimates: &estimates,
        experience: &experience,
        kl_coefficient: config.kl_coefficient,
        ptx: Vec::new(),
    };
    let mut learner = Learner::new(&config);
    let (actor, metrics) = learner.learn(actor, &round, &mut stream(1)).unwrap();
    let update = &known["updates"][0];
    let near = |found: f64, expected: &Value| {
        let expected = expected.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} {expected}");
    };
    near(metrics.policy_loss, &update["policy_loss"]);
    near(metrics.value_loss, &update["value_loss"]);
    near(metrics.clip_fraction, &update["clip_fraction"]);
    near(metrics.gradient_norm, &known["policy_gradient_norm"]);
    near(metrics.value_gradient_norm, &known["value_gradient_norm"]);

    let expected = flat(&actor_of(folder.join("policy_after"), folder.join("value_after")).valid());
    let gradients = flat(
        &ActorCritic {
            decoder: read(&folder.join("policy"), &folder.join("policy_gradients.safetensors")),
            critic: critic_of(&folder.join("value"), &folder.join("value_gradients.safetensors")),
        }
        .valid(),
    );
    let found = flat(&actor.valid());
    assert_eq!([found.len(), gradients.len()], [expected.len(); 2]);
    let mut seen = 0;
    for ((found, expected), (before, gradient)) in
        found.iter().zip(&expected).zip(before.iter().zip(&gradients))
    {
        if *gradient == 0.0 {
            // The row of a token that is not in the rollout.
            assert_eq!((found.to_bits(), expected.to_bits()), (before.to_bits(), before.to_bits()));
        } else if gradient.abs() > 1e-5 {
            // The first step of AdamW moves a weight by about the learning rate, whatever the size of its gradient; only
            // where that is nearly 0 may rounding decide.
            assert!((found - expected).abs() < 1e-5, "{found} {expected}, gradient {gradient}");
            seen += 1;
        }
    }
    assert!(seen > found.len() * 97 / 100, "{seen} of {} weights", found.len());
}

#[test]
fn the_weights_after_a_step_are_those_of_trl() {
    one_update("plain");
}

#[test]
fn with_whitened_rewards_and_at_a_lower_temperature_too() {
    one_update("whitened");
}
