//! Whether memory stays flat: long runs of every stage of training on a thin model, with rows of ever other lengths.
//!
//! Two ratios have to stay near 1, the first at most `MOST_GROWTH`:
//!
//! - of peaks: the highest memory of the whole process by that of the end of the first tenth of the steps. What is longest
//!   comes first, so that no later step needs more than an early one did, and growth is what is kept that should not be.
//! - of what is held: the most memory that is resident at the end of a step, of the last tenth of the steps by the first tenth
//!   after a hundred that settle. It shows growth that stays below the peak of an early step, or of the fitting to what is
//!   longest that comes before.

use crate::machine::{PEAK, RESIDENT, memory};
use crate::program::Outcome;
use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use rand::Rng;
use rlaif::dialogue::{Dialogue, Preference};
use rlaif::language_model::stream;
use rlaif::model_organism::assistant;
use rlaif::ppo::{Inputs, PpoConfig, ValueModel};
use rlaif::preference_model::PreferenceModelConfig;
use rlaif::sft::{Example, SftConfig};
use rlaif::training::{Error, NoCheckpoints, Observe, Silent};
use rlaif::transformer::{Decoder, ModelConfig, Transformer};
use serde_json::{Value, json};

/// Tokens of the vocabulary where there are rows of tokens alone, and that of the embedded model, whose tokenizer reads
/// texts.
const TOKENS: u32 = 512;
const TOKENS_OF_TEXT: u32 = 1536;

/// Steps of fine-tuning, rows of each, and the fewest and most tokens of a row.
const SFT_STEPS: u64 = 1000;
const SFT_ROWS: usize = 4;
const SFT_TOKENS: [usize; 2] = [40, 300];

/// Fewest and most numbers of a prompt and of a reply, each of a few tokens.
const PROMPT: [usize; 2] = [5, 40];
const REPLY: [usize; 2] = [2, 16];

/// Pairs that the preference model is fitted to, in more than a thousand steps, after as many of the longest as given here.
const PAIRS: usize = 5000;
const LONGEST_PAIRS: usize = 64;

/// Rounds of reinforcement learning, each of four optimiser steps, after some with the longest prompts.
const ROUNDS: usize = 300;
const LONGEST_ROUNDS: usize = 4;
const PROMPTS: usize = 64;

/// Steps, or rounds, before what is held is compared.
const SETTLING: usize = 100;

/// The goal: how many times the highest memory of an early part the highest of the whole run may be.
const MOST_GROWTH: f64 = 1.05;

/// The figures of a workload, `memory/sft` and the like.
pub(crate) fn flat_memory<B: AutodiffBackend>(
    device: &B::Device,
    workload: &str,
) -> Outcome<Value> {
    let vocabulary = if workload == "memory/sft" { TOKENS } else { TOKENS_OF_TEXT };
    let decoder = decoder::<B>(vocabulary, device)?;
    let parameters = decoder.num_params();
    let mut look = Look::default();
    match workload {
        "memory/sft" => sft(decoder, &mut look)?,
        "memory/reward_model" => reward_model(&with_codec(decoder, device)?, &mut look)?,
        "memory/ppo" => ppo(&with_codec(decoder, device)?, &mut look)?,
        other => return Err(format!("no {other:?}").into()),
    }
    let (Some(first_peak), Some(peak), Some([first, last])) =
        (look.first_peak, memory(PEAK), look.held())
    else {
        return Err("this system does not say how much memory a process holds and has held".into());
    };
    Ok(json!({
        "peak_ratio": peak as f64 / first_peak as f64,
        "peak_goal": MOST_GROWTH,
        "held_ratio": last as f64 / first as f64,
        "parameters": parameters,
        "first_peak_bytes": first_peak,
        "first_held_bytes": first,
        "last_held_bytes": last,
        "first_steps": look.tenth(),
        "settling_steps": SETTLING,
        "steps": look.steps,
    }))
}

/// A thin model with random weights.
fn decoder<B: AutodiffBackend>(vocabulary: u32, device: &B::Device) -> Outcome<Decoder<B>> {
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {vocabulary}, "hidden_size": 64, "intermediate_size": 172,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 512,
            "tie_word_embeddings": true}}"#
    );
    Ok(Decoder::init(&ModelConfig::from_json(&json, "config.json")?, 1, device))
}

/// With the text side of the embedded model.
fn with_codec<B: AutodiffBackend>(
    decoder: Decoder<B>,
    device: &B::Device,
) -> Outcome<Transformer<B>> {
    Ok(Transformer::new(decoder, assistant::<B>(device)?.codec))
}

/// The first step has the longest rows.
fn sft<B: AutodiffBackend>(decoder: Decoder<B>, look: &mut Look) -> Outcome<()> {
    let mut rng = stream(1);
    let rows = |step: u64| {
        let row = |_| {
            let length = draw(&mut rng, SFT_TOKENS, step == 0);
            Example::unmasked((0..length).map(|_| rng.random_range(0..TOKENS)).collect())
        };
        (0..SFT_ROWS).map(row).collect()
    };
    SftConfig::default().fit_stream(decoder, SFT_STEPS, rows, 1, look, &mut NoCheckpoints)?;
    Ok(())
}

/// The stage shuffles pairs, so that a fitting to the longest comes before.
fn reward_model<B: AutodiffBackend>(base: &Transformer<B>, look: &mut Look) -> Outcome<()> {
    let mut rng = stream(1);
    let mut pairs = |count: usize, longest: bool| -> Vec<Preference> {
        let pair = |_| {
            let prompt = draw(&mut rng, PROMPT, longest);
            let prompt = Dialogue::from_user(numbers(&mut rng, prompt));
            let [chosen, rejected] = [(); 2].map(|()| {
                let reply = draw(&mut rng, REPLY, longest);
                numbers(&mut rng, reply)
            });
            Preference { prompt, chosen, rejected, probability: 1.0 }
        };
        (0..count).map(pair).collect()
    };
    let (longest, ragged) = (pairs(LONGEST_PAIRS, true), pairs(PAIRS, false));
    let config = PreferenceModelConfig {
        tokens_per_step: 1024,
        held_out: 0.0,
        reference_dialogues: 2,
        ..PreferenceModelConfig::default()
    };
    config.fit(base.clone(), &longest, 1, &mut Silent, &mut NoCheckpoints)?;
    config.fit(base.clone(), &ragged, 1, look, &mut NoCheckpoints)?;
    Ok(())
}

/// Prompts are drawn in an order of the stage's own, so that a run with the longest comes before.
fn ppo<B: AutodiffBackend>(base: &Transformer<B>, look: &mut Look) -> Outcome<()> {
    let mut rng = stream(1);
    let mut prompts = |longest: bool| -> Vec<Dialogue> {
        let prompt = |_| {
            let length = draw(&mut rng, PROMPT, longest);
            Dialogue::from_user(numbers(&mut rng, length))
        };
        (0..PROMPTS).map(prompt).collect()
    };
    let (longest, ragged) = (prompts(true), prompts(false));
    // The share of digits: anything that has to be learned will do.
    let digits = |dialogue: &Dialogue| {
        let reply = dialogue.last_reply().unwrap_or_default();
        let digits = reply.chars().filter(char::is_ascii_digit).count();
        digits as f32 / reply.len().max(1) as f32
    };
    let config = |iterations| PpoConfig {
        iterations,
        prompts_per_iteration: 8,
        samples_per_prompt: 2,
        max_tokens: 24,
        value_model: ValueModel::Separate,
        optimizer: PpoConfig::default().optimizer.with_learning_rate(1e-5),
        ..PpoConfig::default()
    };
    let inputs = Inputs::new(base.clone(), &digits, &longest);
    config(LONGEST_ROUNDS).run(inputs, 1, &mut Silent, &mut NoCheckpoints)?;
    let inputs = Inputs::new(base.clone(), &digits, &ragged);
    config(ROUNDS).run(inputs, 1, look, &mut NoCheckpoints)?;
    Ok(())
}

/// A length within bounds, or the upper one.
fn draw(rng: &mut impl Rng, [fewest, most]: [usize; 2], longest: bool) -> usize {
    if longest { most } else { rng.random_range(fewest..=most) }
}

/// So many numbers of two digits.
fn numbers(rng: &mut impl Rng, count: usize) -> String {
    let numbers: Vec<String> =
        (0..count).map(|_| rng.random_range(10_u32..100).to_string()).collect();
    numbers.join(" ")
}

/// Looks at the memory at the end of every step.
#[derive(Default)]
struct Look {
    steps: u64,
    /// The highest memory up to the end of the first tenth of the steps.
    first_peak: Option<u64>,
    /// What is held at the end of each step.
    resident: Vec<u64>,
}

impl Look {
    fn tenth(&self) -> u64 {
        self.steps / 10
    }

    /// The most of the first tenth of the steps after those that settle, and of the last tenth.
    fn held(&self) -> Option<[u64; 2]> {
        let settled = self.resident.get(SETTLING..)?;
        let tenth = self.resident.len() / 10;
        let first = settled.iter().take(tenth).max()?;
        let last = settled.iter().rev().take(tenth).max()?;
        Some([*first, *last])
    }
}

impl Observe for Look {
    fn start(&mut self, _stage: &str, steps: u64, _done: u64) -> Result<(), Error> {
        self.steps = steps;
        Ok(())
    }

    fn record(&mut self, step: u64, _metrics: &[(&str, f64)]) -> Result<(), Error> {
        if step == self.tenth() {
            self.first_peak = memory(PEAK);
        }
        self.resident.extend(memory(RESIDENT));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
