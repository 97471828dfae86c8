//! The graphics card, or the software that stands in for one, gives what `transformers` computes, and trains as the CPU does.
//!
//! ```text
//! cargo test -p rlaif --features wgpu --test gpu
//! cargo test -p rlaif --features cuda --test gpu
//! ```
//!
//! Without a card and without a driver that does without one (Debian: `mesa-vulkan-drivers`) there is nothing to test,
//! and the test says so.
#![cfg(any(feature = "wgpu", feature = "cuda"))]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests on tiny models"
)]

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_flex::{Flex, FlexDevice};
use rlaif::sft::{Example, training_loss_part, weight_sum};
use rlaif::training::OptimizerConfig;
use rlaif::transformer::{
    Decoder, Engine, LoraConfig, Next, Optimizer, Packed, Precision, Targets, Weights,
    continuation_log_probs, generate, pad_right, select_positions, token_log_probs,
    token_log_probs_and_entropy_for_training, token_log_probs_for_training,
};
use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const LENGTHS: [usize; 3] = [24, 9, 17];
const TIME: usize = 24;
const VOCABULARY: usize = 61;

/// Products of 32 bits are summed in another order there.
const TOLERANCE: f32 = 1e-3;

fn folder(name: &str) -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    crates.join("transformer/tests/fixtures").join(name)
}

fn is_there<B: Backend>(device: &B::Device) -> bool {
    let touched = catch_unwind(AssertUnwindSafe(|| {
        (Tensor::<B, 1>::ones([1], device) + 1.0).into_data().iter::<f32>().next()
    }));
    if touched.is_err() {
        // Without a device a backend has no name either.
        eprintln!("skipped: no device for {}", type_name::<B>());
    }
    touched.is_ok()
}

fn rows(expected: &mut Weights) -> Vec<Vec<u32>> {
    let tokens = expected.take("tokens", &[3, TIME]).unwrap();
    let rows = tokens.chunks(TIME).zip(LENGTHS);
    rows.map(|(row, length)| row[..length].iter().map(|&token| token as u32).collect()).collect()
}

fn best(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
    best as u32
}

/// On this side, as a softmax is written.
fn log_prob(logits: &[f32], token: u32) -> f32 {
    let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    logits[token as usize] - total.ln() as f32
}

fn agrees<B: Backend>(name: &str, device: &B::Device) {
    let mut expected = Weights::from_file(&folder(name).join("expected.safetensors")).unwrap();
    let rows = rows(&mut expected);
    let decoder = Decoder::<B>::from_folder(&folder(name), device).unwrap();
    let hidden = decoder.hidden(pad_right(&rows, device));
    let logits = expected.take("logits", &[3, TIME, VOCABULARY]).unwrap();
    for (row, length) in LENGTHS.into_iter().enumerate() {
        let real: Vec<usize> = (0..length).map(|t| row * TIME + t).collect();
        let found = decoder.logits(select_positions(hidden.clone(), &real)).into_data();
        let expected = &logits[row * TIME * VOCABULARY..][..length * VOCABULARY];
        for (found, expected) in found.iter::<f32>().zip(expected) {
            assert!((found - expected).abs() < TOLERANCE, "{name}: {found} is not {expected}");
        }
    }
    let positions: Vec<usize> = (0..LENGTHS[0]).collect();
    let targets = Targets { tokens: positions.iter().map(|&t| t as u32 % 7).collect(), positions };
    let found = token_log_probs(&decoder, hidden, &targets).into_data();
    for (t, found) in found.iter::<f32>().enumerate() {
        let logits = &logits[t * VOCABULARY..][..VOCABULARY];
        let expected = log_prob(logits, targets.tokens[t]);
        assert!((found - expected).abs() < TOLERANCE, "{name}: log-prob {found} is not {expected}");
    }
    // Through the cache, with rows that end and others that take their place.
    let greedy = expected.take("greedy", &[3, 32]).unwrap();
    let mut next = |_: usize, logits: &mut [f32]| Next::Token(best(logits));
    let engine = Engine { rows: 2, ..Engine::default() };
    let found = generate(&decoder, &rows, 8, &engine, &mut next).unwrap();
    for (found, expected) in found.iter().zip(greedy.chunks(32)) {
        let expected: Vec<u32> = expected[..8].iter().map(|&token| token as u32).collect();
        assert_eq!(found, &expected, "{name}");
    }
    eprintln!("{name} agrees on {}", B::name(device));
}

/// Prompts that share a beginning are weighed as by themselves.
fn shares_prefixes<B: Backend>(device: &B::Device) {
    let decoder = Decoder::<B>::from_folder(&folder("llama3"), device).unwrap();
    let prompt = |end: u32| (0..40).map(|t| t % 60 + 1).chain([end, 7]).collect::<Vec<u32>>();
    let prompts = [3, 5, 9].map(prompt);
    let options = vec![vec![vec![1], vec![2]]; 3];
    let weigh = |share_prefixes| {
        let engine = Engine { share_prefixes, ..Engine::default() };
        continuation_log_probs(&decoder, &prompts, &options, &engine).unwrap().concat()
    };
    for (shared, alone) in weigh(true).into_iter().zip(weigh(false)) {
        assert!((shared - alone).abs() < 1e-3, "{shared} is not {alone}");
    }
}

/// A step of training lowers the loss; an adapter trains on a frozen base.
fn learns<B: Backend>(device: &B::Device) {
    let decoder = Decoder::<Autodiff<B>>::from_folder(&folder("llama3"), device).unwrap();
    let mut decoder = decoder.with_adapter(&LoraConfig::default(), 1).unwrap();
    let rows = [vec![1_u32, 2, 3, 4, 5, 6]];
    let targets = Targets { positions: (0..6).collect(), tokens: vec![7; 6] };
    let mut optimizer = Optimizer::new(&OptimizerConfig::default());
    let mut losses = Vec::new();
    for _ in 0..6 {
        let hidden = decoder.hidden(pad_right(&rows, device));
        let loss = -token_log_probs_for_training(&decoder, hidden, &targets).mean();
        losses.push(loss.clone().into_data().iter::<f32>().next().unwrap());
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        decoder = optimizer.step(3e-2, decoder, gradients).0;
    }
    assert!(losses[5] < losses[0], "{losses:?}");
}

/// Rows that begin alike, the ends of which are learnt, and one of its own.
fn examples() -> Vec<Example> {
    let beginning: Vec<u32> = (0..18).map(|t| t * 7 % 60 + 1).collect();
    let reply = |salt: u32, length: u32| (0..length).map(move |t| (salt * 13 + t * 5) % 60 + 1);
    let behind = |(salt, length): (u32, u32)| {
        let tokens: Vec<u32> = beginning.iter().copied().chain(reply(salt, length)).collect();
        let weight = |place: usize| if place < beginning.len() { 0.0 } else { 1.0 };
        Example { weights: (0..tokens.len()).map(weight).collect(), tokens }
    };
    let alone = Example::unmasked(reply(2, 11).collect());
    [(3, 6), (5, 9), (8, 2)].map(behind).into_iter().chain([alone]).collect()
}

/// All parameters as one vector, or their gradients.
struct Flat<'a> {
    gradients: Option<&'a GradientsParams>,
    numbers: Vec<f32>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let data = match self.gradients {
            Some(all) => all.get::<B::InnerBackend, D>(param.id).map(Tensor::into_data),
            None => Some(param.val().into_data()),
        };
        self.numbers.extend(data.iter().flat_map(|data| data.iter::<f32>()));
    }
}

fn flat<B: AutodiffBackend>(decoder: &Decoder<B>, gradients: Option<&GradientsParams>) -> Vec<f32> {
    let mut visitor = Flat { gradients, numbers: Vec::new() };
    decoder.visit(&mut visitor);
    visitor.numbers
}

/// Of packed rows: states; log-probs and entropies; all gradients of their loss; how far a step moves the weights.
fn trained<B: AutodiffBackend>(name: &str, device: &B::Device) -> [Vec<f32>; 4] {
    let decoder = Decoder::<B>::from_folder(&folder(name), device).unwrap();
    let examples = examples();
    let inputs: Vec<&[u32]> = examples.iter().map(Example::inputs).collect();
    let packed = Packed::new(&inputs);
    let count = packed.tokens().len();
    assert!(count < inputs.iter().map(|row| row.len()).sum::<usize>(), "a beginning is shared");
    let hidden = decoder.hidden_packed_for_training(&packed);
    let tokens = (0..count).map(|place| (place * 7 % VOCABULARY) as u32).collect();
    let targets = Targets { positions: (0..count).collect(), tokens };
    let (log_probs, entropies) =
        token_log_probs_and_entropy_for_training(&decoder, hidden.clone(), &targets);
    let mut asked: Vec<f32> = log_probs.into_data().iter().collect();
    asked.extend(entropies.into_data().iter::<f32>());
    let rows: Vec<&Example> = examples.iter().collect();
    let loss = training_loss_part(&decoder, &rows, weight_sum(&rows));
    let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
    let (all, before) = (flat(&decoder, Some(&gradients)), flat(&decoder, None));
    // With a usual epsilon a step is the sign of a gradient, and where that is all but zero rounding decides it.
    let config = OptimizerConfig { epsilon: 1.0, weight_decay: 0.1, ..OptimizerConfig::default() };
    let (decoder, _) = Optimizer::<B>::new(&config).step(1.0, decoder, gradients);
    let after = flat(&decoder, None);
    let moved = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    [hidden.into_data().iter().collect(), asked, all, moved]
}

/// `tolerance` is in units of the largest number.
fn trains_as_on_the_cpu<B: Backend>(name: &str, device: &B::Device, tolerance: f32) {
    let found = trained::<Autodiff<B>>(name, device);
    let expected = trained::<Autodiff<Flex>>(name, &FlexDevice);
    let names = ["states", "log-probs and entropies", "gradients", "a step"];
    for ((found, expected), what) in found.iter().zip(&expected).zip(names) {
        assert_eq!(found.len(), expected.len(), "{name}: {what}");
        let largest = expected.iter().fold(0.0_f32, |largest, number| largest.max(number.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let off = (found - expected).abs() / largest;
            assert!(off < tolerance, "{name}, {what}: {found} is not {expected}");
        }
    }
    eprintln!("{name} trains on {} as on the CPU", B::name(device));
}

/// Sixteen bits, where the device has them.
fn answers_with_sixteen_bits<B: Backend>(device: &B::Device) {
    let precision = Precision::for_answers::<B>(device);
    let exact = Decoder::<B>::from_folder(&folder("llama3"), device).unwrap();
    let logits = |decoder: &Decoder<B>| -> Vec<f32> {
        let hidden = decoder.hidden(pad_right(&[[1, 2, 3, 4]], device)).flatten(0, 1);
        decoder.logits(hidden).into_data().iter().collect()
    };
    let expected = logits(&exact);
    let spread = expected.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
    let found = logits(&exact.with_precision(precision).unwrap());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 0.15 * spread, "{found} is not {expected}");
    }
    eprintln!("{} answers as {}", B::name(device), precision.name());
}

fn all<B: Backend>(families: &[&str], tolerance: f32) {
    let device = B::Device::default();
    if !is_there::<B>(&device) {
        return;
    }
    for name in families {
        agrees::<B>(name, &device);
        trains_as_on_the_cpu::<B>(name, &device, tolerance);
    }
    shares_prefixes::<B>(&device);
    learns::<B>(&device);
    answers_with_sixteen_bits::<B>(&device);
}

/// Every family, or those that the variable names: software compiles every operation anew for some seconds.
fn families() -> Vec<String> {
    match std::env::var("RLAIF_GPU_FAMILIES") {
        Ok(names) => names.split(',').map(str::to_owned).collect(),
        Err(_) => ["llama3", "mistral", "qwen2_window", "qwen3", "gemma3", "gpt2", "gpt_neox"]
            .map(str::to_owned)
            .to_vec(),
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_agrees() {
    let families = families();
    let families: Vec<&str> = families.iter().map(String::as_str).collect();
    all::<burn::backend::Wgpu>(&families, TOLERANCE);
}

#[cfg(feature = "cuda")]
#[test]
fn cuda_agrees() {
    let families = families();
    let families: Vec<&str> = families.iter().map(String::as_str).collect();
    // Units for matrices may round factors to 11 bits (tf32): 2^-12 each on average, in about 30 products one behind the other.
    all::<burn::backend::Cuda>(&families, 4.0 * TOLERANCE);
}
