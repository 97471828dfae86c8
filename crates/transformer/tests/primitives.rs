//! What is fused on the CPU is made of primitives on every other backend: both must read, learn and share prefixes alike.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests on tiny models")]

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_flex::{Flex, FlexDevice};
use std::marker::PhantomData;
use std::path::Path;
use transformer::{
    Decoder, Engine, LoraConfig, Targets, continuation_log_probs, pad_right,
    token_log_probs_and_entropy,
};

/// Where activations are computed again, there are no kernels.
type Primitives = Autodiff<Flex, BalancedCheckpointing>;

fn decoder<B: Backend<Device = FlexDevice>>(family: &str) -> Decoder<B> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(family);
    Decoder::from_folder(&folder, &FlexDevice).unwrap()
}

/// Log-probs of two options behind each of three prompts that begin alike.
fn weighed<B: Backend<Device = FlexDevice>>(family: &str, share_prefixes: bool) -> Vec<f64> {
    let decoder = decoder::<B>(family);
    let prompt = |end: u32| (0..40).map(|t| t % 60 + 1).chain([end, 7]).collect::<Vec<u32>>();
    let prompts = [3, 5, 9].map(prompt);
    let options = vec![vec![vec![1], vec![2]]; 3];
    let engine = Engine { share_prefixes, ..Engine::default() };
    continuation_log_probs(&decoder, &prompts, &options, &engine).unwrap().concat()
}

#[test]
fn prefixes_are_shared_without_kernels_too() {
    for family in ["llama3", "gpt2", "mistral", "gemma3", "gpt_neox"] {
        let expected = weighed::<Flex>(family, false);
        for share in [true, false] {
            let found = weighed::<Primitives>(family, share);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-4, "{family}: {found} is not {expected}");
            }
        }
    }
}

/// The logits of a batch, a loss with log-probs and entropies in it, and the gradients of all that learns.
fn learnt<B: AutodiffBackend<Device = FlexDevice>>(decoder: &Decoder<B>) -> [Vec<f32>; 3] {
    let lengths = [24, 9, 1, 40];
    let token = |row: usize, t: usize| ((row * 31 + t * t * 7 + t * 3 + 5) % 61) as u32;
    let rows: Vec<Vec<u32>> = lengths
        .iter()
        .enumerate()
        .map(|(row, &length)| (0..length).map(|t| token(row, t)).collect())
        .collect();
    let hidden = decoder.hidden(pad_right(&rows, &FlexDevice));
    let targets = Targets { positions: vec![3, 40, 41, 3, 130], tokens: vec![5, 2, 0, 60, 17] };
    let logits = decoder.logits(hidden.clone().flatten(0, 1));
    let (log_probs, entropies) = token_log_probs_and_entropy(decoder, hidden, &targets);
    let loss = (log_probs * 0.7 - entropies).sum();
    let gradients = GradientsParams::from_grads(loss.clone().backward(), decoder);
    let mut visitor =
        Flat::<B> { gradients: &gradients, numbers: Vec::new(), backend: PhantomData };
    decoder.visit(&mut visitor);
    let numbers = visitor.numbers;
    [logits.into_data().to_vec().unwrap(), loss.into_data().to_vec().unwrap(), numbers]
}

/// All gradients as one vector.
struct Flat<'a, B> {
    gradients: &'a GradientsParams,
    numbers: Vec<f32>,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flat<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            self.numbers.extend(gradient.into_data().to_vec::<f32>().unwrap());
        }
    }
}

#[track_caller]
fn assert_same(family: &str, found: [Vec<f32>; 3], expected: [Vec<f32>; 3]) {
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.len(), expected.len(), "{family}");
        assert!(expected.iter().any(|number| number.abs() > 0.1), "{family}: all but zero");
        let largest = expected.iter().fold(1.0_f32, |largest, number| largest.max(number.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let off = (found - expected).abs() / largest;
            assert!(off < 1e-5, "{family}: {found} is not {expected}");
        }
    }
}

/// Rotary positions of several kinds and learned ones, windows, grouped heads, both norms, with and without gates.
#[test]
fn whole_models_learn_the_same_with_kernels_and_without() {
    let adapter =
        LoraConfig { target_modules: vec!["all-linear".to_owned()], ..LoraConfig::default() };
    for family in ["llama3", "mistral", "qwen2_window", "qwen3", "gemma3", "gpt2", "gpt_neox"] {
        let fused = decoder::<Autodiff<Flex>>(family);
        let plain = decoder::<Primitives>(family);
        assert_same(family, learnt(&fused), learnt(&plain));
        let fused = fused.with_adapter(&adapter, 1).unwrap();
        let plain = plain.with_adapter(&adapter, 1).unwrap();
        assert_same(family, learnt(&fused), learnt(&plain));
    }
}
