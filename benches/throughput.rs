//! What a language model does in a second, on one table: reading, drawing, learning, weighing answers.
//!
//! ```text
//! cargo bench -p rlaif --bench throughput
//! cargo bench -p rlaif --bench throughput -- --model FOLDER --only decode/16 --device flex --json
//! ```
//!
//! Without `--model` it is a Llama of 7 million weights. Every workload runs in a process of its own, so that the
//! highest memory is that workload's, until three runs and three seconds are done, after one run that does not count;
//! the table shows the median. Token `i` of row `r` is `(7919 i + 104729 r) mod (vocabulary - 1) + 1` everywhere, and
//! nothing depends on what is drawn.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod machine;
mod program;

use burn::backend::Autodiff;
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Parser;
use machine::{PEAK, RESIDENT, devices, in_own_process, known, mebibytes, memory};
use program::{Outcome, compute_here};
use rlaif::training::OptimizerConfig;
use rlaif::transformer::{
    Decoder, Engine, ModelConfig, Next, Optimizer, Packed, Targets, continuation_log_probs,
    generate, token_log_probs_for_training,
};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The model without `--model`.
const CONFIG: &str = r#"{"model_type": "llama", "vocab_size": 4096, "hidden_size": 256, "intermediate_size": 688,
    "num_hidden_layers": 8, "num_attention_heads": 8, "max_position_embeddings": 2048, "tie_word_embeddings": true}"#;

/// Tokens of a prompt that is continued, and of its reply.
const PROMPT: usize = 32;
const REPLY: usize = 128;

/// Principles under which a pair is compared, what all those prompts begin with, and their own ends: a principle of the
/// general constitution has 22 words and marks on average, and the opening of the answer follows.
const PRINCIPLES: usize = 16;
const SHARED: usize = 1000;
const OWN: usize = 32;

/// Behind `train` stand the rows of an optimiser step and the tokens of each.
const WORKLOADS: [&str; 12] = [
    "prefill/1024",
    "decode/1",
    "decode/16",
    "decode/64",
    "train/16x128",
    "train/64x128",
    "train/1x512",
    "train/1x1024",
    "train/1x2048",
    "train/4x2048",
    "choose/shared",
    "choose/each",
];

#[derive(Parser)]
struct Arguments {
    /// Hugging Face folder of a model [default: random weights].
    #[arg(long)]
    model: Option<PathBuf>,
    /// One workload alone, such as `decode/16`.
    #[arg(long)]
    only: Option<String>,
    /// One device alone: flex, wgpu or cuda.
    #[arg(long)]
    device: Option<String>,
    /// One JSON object a workload instead of the table.
    #[arg(long)]
    json: bool,
    /// What cargo gives to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Outcome<()> {
    compute_here()?;
    let arguments = Arguments::parse();
    let chosen = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|w| w == name);
    if let (Some(workload), Some(device)) = (&arguments.only, &arguments.device) {
        let measured = measure_on(device, workload, &arguments)?;
        if arguments.json {
            println!("{measured}");
            return Ok(());
        }
        return table(&[measured]);
    }
    known(arguments.device.as_deref(), &devices())?;
    known(arguments.only.as_deref(), &WORKLOADS)?;
    let mut measured = Vec::new();
    for device in devices().into_iter().filter(|name| chosen(&arguments.device, name)) {
        for workload in WORKLOADS.into_iter().filter(|name| chosen(&arguments.only, name)) {
            let line = match in_own_process(device, workload, arguments.for_workload()) {
                Ok(line) => line,
                // A device that is not there must not cost the figures of the others.
                Err(reason) => {
                    eprintln!("{reason}");
                    continue;
                }
            };
            if arguments.json {
                println!("{line}");
            }
            measured.push(line);
        }
    }
    if arguments.json { Ok(()) } else { table(&measured) }
}

impl Arguments {
    /// What a process of one workload is given besides it.
    fn for_workload(&self) -> Vec<OsString> {
        self.model.iter().flat_map(|model| ["--model".into(), model.into()]).collect()
    }
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
    let (per_second, unit) = match workload.strip_prefix("train/") {
        Some(shape) => (train::<Autodiff<B>>(&device, shape, arguments)?, "tok/s"),
        None => serve::<B>(&device, workload, arguments)?,
    };
    Ok(json!({
        "workload": workload,
        "per_second": per_second,
        "unit": unit,
        "peak_bytes": memory(PEAK),
        "base_bytes": base_bytes,
        "device": name,
    }))
}

fn load<B: Backend>(device: &B::Device, arguments: &Arguments) -> Outcome<Decoder<B>> {
    if let Some(folder) = &arguments.model {
        return Ok(Decoder::from_folder(folder, device)?);
    }
    Ok(Decoder::init(&ModelConfig::from_json(CONFIG, "config.json")?, 1, device))
}

/// Tokens of a row from place `from` on.
fn tokens(vocabulary: usize, row: usize, from: usize, count: usize) -> Vec<u32> {
    let token = |i: usize| (7919 * i + 104_729 * row) % (vocabulary - 1) + 1;
    (from..from + count).map(|i| u32::try_from(token(i)).unwrap_or(1)).collect()
}

fn serve<B: Backend>(
    device: &B::Device,
    workload: &str,
    arguments: &Arguments,
) -> Outcome<(f64, &'static str)> {
    let decoder = load::<B>(device, arguments)?;
    let vocabulary = decoder.config().vocab_size;
    if let Some(count) = workload.strip_prefix("prefill/") {
        let count: usize = count.parse()?;
        let prompts = [tokens(vocabulary, 0, 0, count)];
        return Ok((count as f64 * runs(|| draw(&decoder, &prompts, 1))?, "tok/s"));
    }
    if let Some(batch) = workload.strip_prefix("decode/") {
        let batch: usize = batch.parse()?;
        let prompts: Vec<Vec<u32>> =
            (0..batch).map(|row| tokens(vocabulary, row, 0, PROMPT)).collect();
        return Ok(((batch * REPLY) as f64 * runs(|| draw(&decoder, &prompts, REPLY))?, "tok/s"));
    }
    let share_prefixes = match workload {
        "choose/shared" => true,
        "choose/each" => false,
        other => return Err(format!("no workload {other:?}, only {}", WORKLOADS.join(", ")).into()),
    };
    let engine = Engine { share_prefixes, ..Engine::default() };
    let prompts: Vec<Vec<u32>> = (0..PRINCIPLES)
        .map(|principle| {
            let shared = tokens(vocabulary, 0, 0, SHARED);
            [shared, tokens(vocabulary, principle + 1, SHARED, OWN)].concat()
        })
        .collect();
    let options = vec![vec![vec![1], vec![2]]; PRINCIPLES];
    let rate = if share_prefixes {
        runs(|| Ok(continuation_log_probs(&decoder, &prompts, &options, &engine).map(drop)?))?
    } else {
        // Each prompt alone: this is what a caller without a batch gets.
        runs(|| {
            for (prompt, options) in prompts.iter().zip(&options) {
                let (prompt, options) =
                    (std::slice::from_ref(prompt), std::slice::from_ref(options));
                continuation_log_probs(&decoder, prompt, options, &engine)?;
            }
            Ok(())
        })?
    };
    Ok((PRINCIPLES as f64 * rate, "labels/s"))
}

/// Continues prompts with the most likely tokens.
fn draw<B: Backend>(decoder: &Decoder<B>, prompts: &[Vec<u32>], count: usize) -> Outcome<()> {
    let engine = Engine { rows: prompts.len(), ..Engine::default() };
    let mut most_likely = |_: usize, logits: &mut [f32]| {
        let mut best = 0;
        for (index, &logit) in logits.iter().enumerate() {
            if logit > logits[best] {
                best = index;
            }
        }
        Next::Token(u32::try_from(best).unwrap_or(0))
    };
    let replies = generate(decoder, prompts, count, &engine, &mut most_likely)?;
    assert!(replies.iter().all(|reply| reply.len() == count), "nothing ends a reply");
    Ok(())
}

/// Forward, backward and `AdamW` on rows of `ROWSxTOKENS`, with a loss on every token.
fn train<B: AutodiffBackend>(
    device: &B::Device,
    shape: &str,
    arguments: &Arguments,
) -> Outcome<f64> {
    let (rows_at_once, time) = shape.split_once('x').ok_or("train needs rows x tokens")?;
    let (rows_at_once, time): (usize, usize) = (rows_at_once.parse()?, time.parse()?);
    let mut decoder = Some(load::<B>(device, arguments)?);
    let vocabulary = decoder.as_ref().map_or(2, |decoder| decoder.config().vocab_size);
    let rows: Vec<Vec<u32>> =
        (0..rows_at_once).map(|row| tokens(vocabulary, row, 0, time)).collect();
    let packed = Packed::new(&rows);
    let places = |row| (0..time).map(move |token| (row, token));
    let targets = Targets {
        positions: (0..rows_at_once)
            .flat_map(places)
            .map(|(row, token)| packed.place(row, token))
            .collect(),
        tokens: (0..rows_at_once).flat_map(|row| tokens(vocabulary, row, 1, time)).collect(),
    };
    let mut optimizer = Optimizer::new(&OptimizerConfig::default());
    let rate = runs(|| {
        let Some(model) = decoder.take() else { return Ok(()) };
        let hidden = model.hidden_packed_for_training(&packed);
        let loss = -token_log_probs_for_training(&model, hidden, &targets).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        decoder = Some(optimizer.step(1e-4, model, gradients).0);
        B::sync(device)?;
        Ok(())
    })?;
    Ok((rows_at_once * time) as f64 * rate)
}

/// Runs a second: the median.
fn runs(mut run: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    run()?;
    let begun = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 3 || begun.elapsed() < Duration::from_secs(3) {
        let start = Instant::now();
        run()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2].recip())
}

fn table(measured: &[Value]) -> Outcome<()> {
    println!(
        "{:<8}{:<16}{:>12} {:<10}{:>12}",
        "device", "workload", "per second", "", "peak memory"
    );
    for line in measured {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let number = line["per_second"].as_f64().ok_or("a figure is missing")?;
        let peak = mebibytes(&line["peak_bytes"]);
        println!(
            "{:<8}{:<16}{number:>12.1} {:<10}{peak:>16}",
            text("device"),
            text("workload"),
            text("unit"),
        );
    }
    Ok(())
}
