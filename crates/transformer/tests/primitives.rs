//! What is fused on the CPU is made of primitives on every other backend: both must share prefixes alike.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use std::path::Path;
use transformer::{Decoder, Engine, continuation_log_probs};

/// Log-probs of two options behind each of three prompts that begin alike.
fn weighed<B: Backend<Device = FlexDevice>>(family: &str, share_prefixes: bool) -> Vec<f64> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(family);
    let decoder = Decoder::<B>::from_folder(&folder, &FlexDevice).unwrap();
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
            // Where activations are computed again, there are no kernels.
            let found = weighed::<Autodiff<Flex, BalancedCheckpointing>>(family, share);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-4, "{family}: {found} is not {expected}");
            }
        }
    }
}
