//! What the stages of training do in a second, on one table: fine-tuning, a preference model, PPO; and that memory stays
//! flat.
//!
//! ```text
//! python benches/peers/make_model.py /tmp/7M --training --size 7M
//! cargo bench -p rlaif --bench training -- --model /tmp/7M
//! cargo bench -p rlaif --bench training -- --model /tmp/7M --only ppo --iterations 1 --json
//! cargo bench -p rlaif --bench training -- --only memory/ppo
//! ```
//!
//! Every workload runs in a process of its own. What the workloads are, to the token, stands in
//! `benches/peers/workloads.py`; their rows come with the model. Those of `memory` need none: they take a thin model
//! through a long run of each stage and divide its memory by that of an early part, see `benches/flat_memory.rs`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod flat_memory;
mod machine;
mod program;

use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Parser;
use flat_memory::flat_memory;
use machine::{PEAK, RESIDENT, devices, in_own_process, known, mebibytes, memory};
use program::{Outcome, compute_here};
use rlaif::dialogue::{Dialogue, Preference};
use rlaif::ppo::{Inputs, PpoConfig, Preset, ValueModel, ValueStart};
use rlaif::preference_model::{PreferenceModel, PreferenceModelConfig};
use rlaif::sft::{Example, SftConfig};
use rlaif::training::{Error, NoCheckpoints, Observe, OptimizerConfig, Schedule};
use rlaif::transformer::{
    Decoder, LoraConfig, ModelConfig, ScalarHead, ScalarModel, Transformer, Weights,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

const WORKLOADS: [&str; 10] = [
    "sft",
    "sft/grouped",
    "reward_model",
    "reward_model/grouped",
    "ppo",
    "ppo/shared",
    "ppo/lora",
    MEMORY[0],
    MEMORY[1],
    MEMORY[2],
];
const MEMORY: [&str; 3] = ["memory/sft", "memory/reward_model", "memory/ppo"];

/// Optimiser steps that are not timed.
const WARM_UP_STEPS: usize = 2;

/// Dialogues, or pairs of them, of an optimiser step.
const ROWS: usize = 16;

/// Replies of an iteration, the tokens of each, and how often they are learned from.
const EPISODES: usize = 64;
const RESPONSE: usize = 32;
const PPO_EPOCHS: usize = 4;

const LEARNING_RATE: f64 = 1e-4;
const PPO_LEARNING_RATE: f64 = 3e-6;
const LORA_RANK: usize = 16;

#[derive(Parser)]
struct Arguments {
    /// Folder that `benches/peers/make_model.py --training` wrote; without one only those of `memory` run.
    #[arg(long)]
    model: Option<PathBuf>,
    /// One workload alone, such as `sft`.
    #[arg(long)]
    only: Option<String>,
    /// One device alone: flex, wgpu or cuda.
    #[arg(long)]
    device: Option<String>,
    /// Optimiser steps that are timed.
    #[arg(long, default_value_t = 8)]
    steps: usize,
    /// Iterations of PPO that are timed.
    #[arg(long, default_value_t = 2)]
    iterations: usize,
    /// Tokens that go through the model at once, instead of the default of the stage.
    #[arg(long)]
    tokens_per_micro_batch: Option<usize>,
    /// One JSON object a workload instead of the table.
    #[arg(long)]
    json: bool,
    /// What cargo gives to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    fn model(&self) -> Outcome<&Path> {
        Ok(self.model.as_deref().ok_or("this workload needs --model FOLDER")?)
    }

    /// The rows of a workload, as `workloads.py` wrote them.
    fn rows<T: DeserializeOwned>(&self, workload: &str) -> Outcome<Vec<T>> {
        let file = self.model()?.join("rows").join(workload.replace('/', "_") + ".json");
        let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The rows of all steps, those that are not timed among them.
    fn rows_of_steps<T: DeserializeOwned>(&self, workload: &str) -> Outcome<Vec<T>> {
        let (mut rows, count) = (self.rows(workload)?, (WARM_UP_STEPS + self.steps) * ROWS);
        if rows.len() < count {
            return Err(format!("{} rows are too few for so many steps", rows.len()).into());
        }
        rows.truncate(count);
        Ok(rows)
    }

    /// What a process of one workload is given besides it.
    fn for_workload(&self) -> Vec<OsString> {
        let numbers = [
            ("--steps", Some(self.steps)),
            ("--iterations", Some(self.iterations)),
            ("--tokens-per-micro-batch", self.tokens_per_micro_batch),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, number)| Some([OsString::from(name), number?.to_string().into()]));
        let model = self.model.iter().map(|model| ["--model".into(), model.into()]);
        numbers.chain(model).flatten().collect()
    }
}

fn main() -> Outcome<()> {
    compute_here()?;
    let arguments = Arguments::parse();
    if let (Some(workload), Some(device)) = (&arguments.only, &arguments.device) {
        let measured = measure_on(device, workload, &arguments)?;
        if arguments.json {
            println!("{measured}");
        } else {
            table(&[measured]);
        }
        return Ok(());
    }
    known(arguments.device.as_deref(), &devices())?;
    known(arguments.only.as_deref(), &WORKLOADS)?;
    let mut measured = Vec::new();
    for device in devices() {
        if arguments.device.as_ref().is_some_and(|wanted| wanted != device) {
            continue;
        }
        for workload in workloads(&arguments) {
            match in_own_process(device, workload, arguments.for_workload()) {
                Ok(line) if arguments.json => println!("{line}"),
                Ok(line) => measured.push(line),
                // A device that is not there must not cost the figures of the others.
                Err(reason) => eprintln!("{reason}"),
            }
        }
    }
    if !arguments.json {
        table(&measured);
    }
    Ok(())
}

/// The workloads that were asked for, or all that can run.
fn workloads(arguments: &Arguments) -> Vec<&'static str> {
    if arguments.only.is_none() && arguments.model.is_none() {
        eprintln!("only {} run without --model FOLDER", MEMORY.join(", "));
        return MEMORY.to_vec();
    }
    let chosen = |name: &&str| arguments.only.as_ref().is_none_or(|wanted| wanted == name);
    WORKLOADS.into_iter().filter(chosen).collect()
}

fn measure_on(device: &str, workload: &str, arguments: &Arguments) -> Outcome<Value> {
    match device {
        #[cfg(feature = "flex")]
        "flex" => measure::<burn::backend::Flex>(device, workload, arguments),
        #[cfg(feature = "wgpu")]
        "wgpu" => measure::<burn::backend::Wgpu>(device, workload, arguments),
        #[cfg(feature = "cuda")]
        "cuda" => measure::<burn::backend::Cuda>(device, workload, arguments),
        other => Err(format!("no device {other:?}, only {}", devices().join(", ")).into()),
    }
}

fn measure<B: Backend>(name: &str, workload: &str, arguments: &Arguments) -> Outcome<Value> {
    let base_bytes = memory(RESIDENT);
    let device = B::Device::default();
    let mut line = match workload.split('/').next() {
        Some("sft") => sft::<Autodiff<B>>(&device, workload, arguments)?,
        Some("reward_model") => reward_model::<Autodiff<B>>(&device, workload, arguments)?,
        Some("ppo") => ppo::<Autodiff<B>>(&device, workload, arguments)?,
        Some("memory") => flat_memory::<Autodiff<B>>(&device, workload)?,
        _ => return Err(format!("no {workload:?}, only {}", WORKLOADS.join(", ")).into()),
    };
    line["workload"] = json!(workload);
    line["device"] = json!(name);
    line["peak_bytes"] = json!(memory(PEAK));
    line["base_bytes"] = json!(base_bytes);
    Ok(line)
}

/// The tokens of a micro-batch, if they are given.
fn set(tokens_per_micro_batch: &mut usize, arguments: &Arguments) {
    if let Some(tokens) = arguments.tokens_per_micro_batch {
        *tokens_per_micro_batch = tokens;
    }
}

/// The optimiser of all arms.
fn optimizer(learning_rate: f64) -> OptimizerConfig {
    OptimizerConfig { learning_rate, beta_2: 0.999, ..OptimizerConfig::default() }
}

/// The steps of `sft` have the rows of the file in their order.
fn sft<B: AutodiffBackend>(
    device: &B::Device,
    workload: &str,
    arguments: &Arguments,
) -> Outcome<Value> {
    let rows: Vec<[Vec<u32>; 2]> = arguments.rows_of_steps(workload)?;
    let examples: Vec<Example> = rows.into_iter().map(example).collect();
    let decoder = Decoder::<B>::from_folder(arguments.model()?, device)?;
    let parameters = decoder.num_params();
    let mut steps = examples.chunks_exact(ROWS);
    let mut config = SftConfig {
        optimizer: optimizer(LEARNING_RATE),
        schedule: Schedule::constant(),
        ..SftConfig::default()
    };
    set(&mut config.tokens_per_micro_batch, arguments);
    let mut clock = Clock::after(WARM_UP_STEPS, "loss");
    let count = steps.len() as u64;
    let next = |_| steps.next().unwrap_or_default().to_vec();
    config.fit_stream(decoder, count, next, 1, &mut clock, &mut NoCheckpoints)?;
    clock.tokens(parameters)
}

/// A dialogue whose reply carries a loss.
fn example([prompt, reply]: [Vec<u32>; 2]) -> Example {
    let weights = [vec![0.0; prompt.len()], vec![1.0; reply.len()]].concat();
    Example { tokens: [prompt, reply].concat(), weights }
}

/// The stage shuffles pairs itself, to steps of as many tokens as 16 pairs have on average.
fn reward_model<B: AutodiffBackend>(
    device: &B::Device,
    workload: &str,
    arguments: &Arguments,
) -> Outcome<Value> {
    let rows: Vec<[Vec<u32>; 3]> = arguments.rows_of_steps(workload)?;
    let tokens = |[prompt, chosen, rejected]: &[Vec<u32>; 3]| {
        2 * prompt.len() + chosen.len() + rejected.len()
    };
    let tokens_per_step =
        rows.iter().map(tokens).sum::<usize>() / (WARM_UP_STEPS + arguments.steps);
    let preferences: Vec<Preference> = rows.iter().map(preference).collect();
    let base = Transformer::<B>::from_folder(arguments.model()?, device)?;
    let parameters = base.decoder.num_params();
    let mut config = PreferenceModelConfig {
        tokens_per_step,
        // No work beside the steps.
        held_out: 0.0,
        reference_dialogues: 2,
        optimizer: optimizer(LEARNING_RATE),
        schedule: Schedule::constant(),
        ..PreferenceModelConfig::default()
    };
    set(&mut config.tokens_per_micro_batch, arguments);
    let mut clock = Clock::after(WARM_UP_STEPS, "loss");
    config.fit(base, &preferences, 1, &mut clock, &mut NoCheckpoints)?;
    clock.tokens(parameters)
}

fn preference([prompt, chosen, rejected]: &[Vec<u32>; 3]) -> Preference {
    Preference {
        prompt: Dialogue::from_user(words(prompt)),
        chosen: words(chosen),
        rejected: words(rejected),
        probability: 1.0,
    }
}

/// Tokens as the tokenizer of the folder writes them: as their numbers.
fn words(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// The first iteration is not timed.
fn ppo<B: AutodiffBackend>(
    device: &B::Device,
    workload: &str,
    arguments: &Arguments,
) -> Outcome<Value> {
    let rows: Vec<Vec<u32>> = arguments.rows("ppo")?;
    let prompts: Vec<Dialogue> = rows.iter().map(|row| Dialogue::from_user(words(row))).collect();
    let folder = arguments.model()?;
    let scorer = folder.join("reward_model");
    let policy = Transformer::<B>::from_folder(folder, device)?;
    let parameters = policy.decoder.num_params();
    let reward = PreferenceModel::<B::InnerBackend>::from_folder(&scorer, device)?;
    let mut config = ppo_config(workload, 1 + arguments.iterations)?;
    set(&mut config.tokens_per_micro_batch, arguments);
    let inputs = Inputs::new(policy, &reward, &prompts);
    let inputs = match config.value_model {
        ValueModel::Separate => inputs.with_value(value_model(&scorer, device)?),
        _ => inputs,
    };
    let mut clock = Clock::after(1, "value_loss");
    config.run(inputs, 1, &mut clock, &mut NoCheckpoints)?;
    clock.iterations(parameters)
}

/// The numerics of TRL, but for what `workloads.py` says.
fn ppo_config(workload: &str, iterations: usize) -> Outcome<PpoConfig> {
    let separate = PpoConfig {
        iterations,
        prompts_per_iteration: EPISODES,
        samples_per_prompt: 1,
        max_tokens: RESPONSE,
        temperature: 1.0,
        epochs: PPO_EPOCHS,
        minibatches: 1,
        optimizer: OptimizerConfig {
            learning_rate: PPO_LEARNING_RATE,
            ..PpoConfig::preset(Preset::Trl).optimizer
        },
        schedule: Schedule::constant(),
        ..PpoConfig::preset(Preset::Trl)
    };
    let config = match workload {
        "ppo" => separate,
        "ppo/shared" => PpoConfig { value_model: ValueModel::Shared, ..separate },
        "ppo/lora" => PpoConfig { lora: Some(lora()), ..separate },
        other => return Err(format!("no {other:?}, only {}", WORKLOADS.join(", ")).into()),
    };
    Ok(config)
}

fn lora() -> LoraConfig {
    LoraConfig {
        rank: LORA_RANK,
        alpha: 2.0 * LORA_RANK as f64,
        target_modules: vec!["all-linear".to_owned()],
        ..LoraConfig::default()
    }
}

/// The value model begins as the reward model, and all of it learns.
fn value_model<B: Backend>(folder: &Path, device: &B::Device) -> Outcome<ValueStart<B>> {
    let config = ModelConfig::from_folder(folder)?;
    let mut weights = Weights::from_folder(folder)?;
    let decoder = Decoder::from_weights(&config, &mut weights, device)?;
    let score = weights.take("score.weight", &[1, config.hidden_size])?;
    let model = ScalarModel::new(decoder, ScalarHead::from_weight(score, device));
    Ok(ValueStart { model, mean: 0.0, std: 1.0 })
}

/// Times the steps of a stage by when they are recorded.
struct Clock {
    warm_up: u64,
    loss_name: &'static str,
    begun: Option<Instant>,
    seconds: f64,
    steps: u64,
    tokens: f64,
    loss: f64,
}

impl Clock {
    /// Does not count the first steps.
    fn after(warm_up: usize, loss_name: &'static str) -> Self {
        let (begun, warm_up) = (None, warm_up as u64);
        Self { warm_up, loss_name, begun, seconds: 0.0, steps: 0, tokens: 0.0, loss: f64::NAN }
    }

    fn tokens(&self, parameters: usize) -> Outcome<Value> {
        self.line(self.tokens, "tok/s", parameters)
    }

    fn iterations(&self, parameters: usize) -> Outcome<Value> {
        self.line(self.steps as f64, "iterations/s", parameters)
    }

    fn line(&self, amount: f64, unit: &str, parameters: usize) -> Outcome<Value> {
        if self.steps == 0 {
            return Err("there was no step after those that are not timed".into());
        }
        Ok(json!({
            "per_second": amount / self.seconds,
            "unit": unit,
            "seconds": self.seconds / self.steps as f64,
            "steps": self.steps,
            "parameters": parameters,
            "loss": self.loss,
        }))
    }
}

impl Observe for Clock {
    fn start(&mut self, _stage: &str, _steps: u64, _done: u64) -> Result<(), Error> {
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        let of = |name| metrics.iter().find(|(found, _)| *found == name).map(|&(_, value)| value);
        if step == self.warm_up {
            self.begun = Some(Instant::now());
        }
        if let Some(begun) = self.begun.filter(|_| step > self.warm_up) {
            self.seconds = begun.elapsed().as_secs_f64();
            self.steps += 1;
            self.tokens += of("tokens").unwrap_or(0.0);
            self.loss = of(self.loss_name).unwrap_or(f64::NAN);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

fn table(measured: &[Value]) {
    println!(
        "{:<8}{:<22}{:>12} {:<14}{:>10}{:>14}{:>14}",
        "device", "workload", "per second", "", "seconds", "parameters", "peak memory"
    );
    for line in measured {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let number = |key: &str| line[key].as_f64().map_or(String::new(), |n| format!("{n:.2}"));
        println!(
            "{:<8}{:<22}{:>12} {:<14}{:>10}{:>14}{:>14}",
            text("device"),
            text("workload"),
            number("per_second"),
            text("unit"),
            number("seconds"),
            line["parameters"],
            mebibytes(&line["peak_bytes"]),
        );
        if let (Some(peak), Some(held)) = (line["peak_ratio"].as_f64(), line["held_ratio"].as_f64())
        {
            let first = mebibytes(&line["first_peak_bytes"]);
            let [early, all] = [&line["first_steps"], &line["steps"]];
            let goal = line["peak_goal"].as_f64().unwrap_or(f64::NAN);
            let verdict = if peak <= goal { "reached" } else { "missed" };
            println!(
                "        peak {first} after {early} steps, {peak:.3} times as much after {all}; goal at most {goal:.3}, {verdict}"
            );
            let first = mebibytes(&line["first_held_bytes"]);
            let settling = &line["settling_steps"];
            println!(
                "        held {first} in {early} steps after {settling}, {held:.3} times as much in the last {early}"
            );
        }
    }
}
