//! Adapters: the numbers of PEFT, training on a frozen base, folders.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests on tiny models"
)]

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use burn_flex::{Flex, FlexDevice};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use training::OptimizerConfig;
use transformer::{
    Decoder, Error, LoraConfig, Optimizer, Precision, Targets, Weights, pad_right, token_log_probs,
};

type B = Flex;

const LENGTHS: [usize; 3] = [24, 9, 17];
const ADAPTERS: [(&str, &str); 4] = [
    ("llama2", "lora"),
    ("llama2", "lora_rank_stabilised"),
    ("gpt2", "lora_gpt2"),
    ("gpt_neox", "lora_neox"),
];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn base<C: Backend>(name: &str, device: &C::Device) -> Decoder<C> {
    Decoder::from_folder(&folder(name), device).unwrap()
}

fn rows() -> Vec<Vec<u32>> {
    let mut file = Weights::from_file(&folder("llama2").join("expected.safetensors")).unwrap();
    let tokens = file.take("tokens", &[3, 24]).unwrap();
    let rows = tokens.chunks(24).zip(LENGTHS);
    rows.map(|(row, length)| row[..length].iter().map(|&token| token as u32).collect()).collect()
}

/// Logits of all rows, `[3 * 24 * 61]`.
fn logits(decoder: &Decoder<B>, rows: &[Vec<u32>]) -> Vec<f32> {
    let hidden = decoder.hidden(pad_right(rows, &FlexDevice)).flatten(0, 1);
    decoder.logits(hidden).into_data().to_vec().unwrap()
}

/// The largest difference at real tokens.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    let mut worst = 0.0_f32;
    for (row, length) in LENGTHS.into_iter().enumerate() {
        let real = row * 24 * 61..(row * 24 + length) * 61;
        for (found, expected) in found[real.clone()].iter().zip(&expected[real]) {
            worst = worst.max((found - expected).abs());
        }
    }
    worst
}

#[test]
fn adapters_of_peft_agree() {
    for (model, adapter) in ADAPTERS {
        let path = folder(adapter).join("expected.safetensors");
        let mut expected = Weights::from_file(&path).unwrap();
        let tokens = expected.take("tokens", &[3, 24]).unwrap();
        let rows: Vec<Vec<u32>> = tokens
            .chunks(24)
            .zip(LENGTHS)
            .map(|(row, length)| row[..length].iter().map(|&token| token as u32).collect())
            .collect();
        let plain = base::<B>(model, &FlexDevice);
        let adapted = plain.clone().with_adapter_from(folder(adapter)).unwrap();
        let corrected = expected.take("logits", &[3, 24, 61]).unwrap();
        let merged = expected.take("merged_logits", &[3, 24, 61]).unwrap();
        assert!(difference(&logits(&adapted, &rows), &corrected) < 1e-4, "{adapter}");
        let before = logits(&plain, &rows);
        assert!(difference(&before, &corrected) > 1e-2, "{adapter} changes the model");
        // Switched off it is the base, to the bit.
        assert_eq!(logits(&adapted.without_adapter(), &rows), before, "{adapter}");
        let together = adapted.clone().merge_adapter();
        assert!(together.adapter().is_none());
        assert!(difference(&logits(&together, &rows), &merged) < 1e-4, "{adapter}");
        // A whole model that is saved has the adapter in its weights.
        let saved = tempfile::tempdir().unwrap();
        adapted.save(saved.path(), Precision::F32).unwrap();
        let again = Decoder::<B>::from_folder(saved.path(), &FlexDevice).unwrap();
        assert!(difference(&logits(&again, &rows), &merged) < 1e-4, "{adapter}");
    }
}

#[test]
fn adapters_are_written_as_they_were_read() {
    for (model, adapter) in ADAPTERS {
        let adapted = base::<B>(model, &FlexDevice).with_adapter_from(folder(adapter)).unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("adapter");
        adapted.save_adapter(&path, model).unwrap();
        // Once more over the old one.
        adapted.save_adapter(&path, model).unwrap();
        let read = |folder: &Path| Weights::from_file(&folder.join("adapter_model.safetensors"));
        let (found, expected) = (read(&path).unwrap(), read(&folder(adapter)).unwrap());
        assert!(found.names().eq(expected.names()), "{adapter}");
        for name in expected.names() {
            assert_eq!(found.get(name), expected.get(name), "{name}");
        }
        let json = |folder: &Path| -> serde_json::Value {
            let text = fs::read(folder.join("adapter_config.json")).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let (found, expected) = (json(&path), json(&folder(adapter)));
        for (key, value) in found.as_object().unwrap() {
            let same = value == &expected[key] || value.as_f64() == expected[key].as_f64();
            assert!(same, "{adapter}: {key} is {value}, not {}", expected[key]);
        }
        let again = base::<B>(model, &FlexDevice).with_adapter_from(&path).unwrap();
        assert_eq!(again.adapter(), adapted.adapter());
    }
    let error = base::<B>("llama2", &FlexDevice).save_adapter("nowhere", "llama2").unwrap_err();
    assert!(matches!(error, Error::NoAdapter));
}

/// A few steps towards one token everywhere; the loss before each.
fn train(mut decoder: Decoder<Autodiff<B>>, steps: usize) -> (Decoder<Autodiff<B>>, Vec<f32>) {
    let rows = rows();
    let targets = Targets { positions: (0..9).collect(), tokens: vec![7; 9] };
    let config = OptimizerConfig { learning_rate: 1e-2, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(&config);
    let mut losses = Vec::new();
    for _ in 0..steps {
        let hidden = decoder.hidden(pad_right(&rows, &FlexDevice));
        let loss = -token_log_probs(&decoder, hidden, &targets).mean();
        losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &decoder);
        decoder = optimizer.step(1e-2, decoder, gradients).0;
    }
    (decoder, losses)
}

#[test]
fn an_adapter_learns_and_its_base_stays() {
    for (model, target) in [("llama2", "q_proj"), ("gpt2", "c_attn"), ("qwen3", "all-linear")] {
        let plain = base::<Autodiff<B>>(model, &FlexDevice);
        let config = LoraConfig {
            target_modules: vec![target.to_owned(), "all-linear".to_owned()],
            ..LoraConfig::default()
        };
        let fresh = plain.clone().with_adapter(&config, 1).unwrap();
        let rows = rows();
        let before = logits(&plain.valid(), &rows);
        assert_eq!(logits(&fresh.valid(), &rows), before, "a fresh adapter changes nothing");
        let (trained, losses) = train(fresh, 30);
        assert!(losses[29] < 0.5 * losses[0], "{model}: {losses:?}");
        assert!(difference(&logits(&trained.valid(), &rows), &before) > 1.0);
        assert_eq!(logits(&trained.valid().without_adapter(), &rows), before, "{model}");
        assert_eq!(trained.without_adapter().weights(), plain.weights(), "{model}");
    }
}

/// After training, in memory: merged it is the same model, and all of it learns again.
#[test]
fn a_trained_adapter_is_merged_and_the_model_learns_on() {
    let plain = base::<Autodiff<B>>("llama2", &FlexDevice);
    let (trained, _) = train(plain.with_adapter(&LoraConfig::default(), 1).unwrap(), 5);
    let rows = rows();
    let adapted = logits(&trained.valid(), &rows);
    let merged = trained.merge_adapter();
    assert!(difference(&logits(&merged.valid(), &rows), &adapted) < 1e-4);
    let before = merged.weights();
    let (trained, _) = train(merged, 2);
    let after = trained.weights();
    for name in before.names() {
        assert_ne!(before.get(name), after.get(name), "{name} learns");
    }
}

#[test]
fn a_pattern_of_targets_is_written_as_what_it_meant() {
    let path = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(folder("lora").join("adapter_config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["target_modules"] = r".*\.(q|v|down)_proj".into();
    fs::write(path.path().join("adapter_config.json"), config.to_string()).unwrap();
    let weights = fs::read(folder("lora").join("adapter_model.safetensors")).unwrap();
    fs::write(path.path().join("adapter_model.safetensors"), weights).unwrap();
    let adapted = base::<B>("llama2", &FlexDevice).with_adapter_from(path.path()).unwrap();
    assert_eq!(adapted.adapter().unwrap().target_modules, ["down_proj", "q_proj", "v_proj"]);
}

proptest! {
    /// Whatever the damage, an error or an adapter; never a panic.
    #[test]
    fn damaged_adapters_give_errors(file in 0_usize..2, place: prop::sample::Index, byte: u8, cut in any::<bool>()) {
        let names = ["adapter_config.json", "adapter_model.safetensors"];
        let path = tempfile::tempdir().unwrap();
        for (index, name) in names.into_iter().enumerate() {
            let mut bytes = fs::read(folder("lora").join(name)).unwrap();
            if index == file {
                let place = place.index(bytes.len());
                bytes[place] = byte;
                if cut {
                    bytes.truncate(place);
                }
            }
            fs::write(path.path().join(name), bytes).unwrap();
        }
        let _ = base::<B>("llama2", &FlexDevice).with_adapter_from(path.path());
    }
}

#[test]
fn only_the_targets_are_corrected() {
    let config = LoraConfig { target_modules: vec!["v_proj".to_owned()], ..LoraConfig::default() };
    let plain = base::<Autodiff<B>>("llama2", &FlexDevice);
    let (trained, _) = train(plain.clone().with_adapter(&config, 1).unwrap(), 3);
    let (before, after) = (plain.weights(), trained.weights());
    for name in before.names() {
        assert_eq!(before.get(name) != after.get(name), name.contains("v_proj"), "{name}");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let plain = base::<B>("llama2", &FlexDevice);
    let sound = LoraConfig::default();
    let cases = [
        ("`lora.rank` is 0, expected", LoraConfig { rank: 0, ..sound.clone() }),
        ("`lora.rank` is 1099511627776, expected", LoraConfig { rank: 1 << 40, ..sound.clone() }),
        ("`lora.alpha` is NaN, expected", LoraConfig { alpha: f64::NAN, ..sound.clone() }),
        (
            "`lora.target_modules` is empty, expected",
            LoraConfig { target_modules: vec![], ..sound.clone() },
        ),
        ("q_proj, k_proj", LoraConfig { target_modules: vec!["proj".to_owned()], ..sound }),
    ];
    for (named, config) in cases {
        let error = plain.clone().with_adapter(&config, 1).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused() {
    let original = fs::read_to_string(folder("lora").join("adapter_config.json")).unwrap();
    let weights = fs::read(folder("lora").join("adapter_model.safetensors")).unwrap();
    let refused = |model: &str, from: &str, to: &str| {
        assert!(original.contains(from), "{from}");
        let path = tempfile::tempdir().unwrap();
        let config = original.replace(from, to);
        fs::write(path.path().join("adapter_config.json"), config).unwrap();
        fs::write(path.path().join("adapter_model.safetensors"), &weights).unwrap();
        let plain = base::<B>(model, &FlexDevice);
        plain.with_adapter_from(path.path()).unwrap_err().to_string()
    };
    for (from, to, named) in [
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "bias"),
        ("\"r\": 4", "\"r\": 5", "shape [4, 32], expected [5, 32]"),
        ("\"r\": 4", "\"r\": 0", "`r`"),
        ("\"lora_alpha\": 8", "\"lora_alpha\": null", "lora_alpha"),
        ("\"LORA\"", "\"IA3\"", "peft_type"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 2}", "rank_pattern"),
        ("{", "", "adapter_config.json"),
    ] {
        let error = refused("llama2", from, to);
        assert!(error.contains(named), "{error}");
    }
    let error = refused("gpt2", "\"r\": 4", "\"r\": 4");
    assert!(error.contains("lora_A"), "{error}");
    let plain = base::<B>("llama2", &FlexDevice);
    let error = plain.with_adapter_from(folder("llama2")).unwrap_err().to_string();
    assert!(error.contains("adapter_config.json"), "{error}");
}
