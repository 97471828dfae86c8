//! Weights and configurations written, read again, and damaged in between.
#![allow(clippy::unwrap_used, reason = "tests on tiny models")]

use burn_flex::{Flex, FlexDevice};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use transformer::{Architecture, Array, Decoder, Error, ModelConfig, Precision, Weights};

type B = Flex;

const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 11, "hidden_size": 8,
  "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 16, "tie_word_embeddings": false, "eos_token_id": [2, 3], "use_cache": true
}"#;

fn config() -> ModelConfig {
    ModelConfig::from_json(CONFIG, "config.json").unwrap()
}

fn decoder() -> Decoder<B> {
    Decoder::init(&config(), 5, &FlexDevice)
}

fn read(mut weights: Weights) -> Result<Decoder<B>, Error> {
    let decoder = Decoder::from_weights(&config(), &mut weights, &FlexDevice)?;
    weights.finish()?;
    Ok(decoder)
}

#[test]
fn what_is_saved_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let decoder = decoder();
    decoder.save(folder.path(), Precision::F32).unwrap();
    let again = Decoder::<B>::from_folder(folder.path(), &FlexDevice).unwrap();
    assert_eq!(again.config().to_json("float32"), config().to_json("float32"));
    for name in decoder.weights().names() {
        assert_eq!(decoder.weights().get(name), again.weights().get(name), "{name}");
    }

    decoder.save(folder.path(), Precision::F16).unwrap();
    let halved = Decoder::<B>::from_folder(folder.path(), &FlexDevice).unwrap().weights();
    for name in decoder.weights().names() {
        let pairs = decoder.weights().get(name).unwrap().data;
        for (exact, rounded) in pairs.iter().zip(&halved.get(name).unwrap().data) {
            assert!((exact - rounded).abs() <= exact.abs() / 2048.0 + 1e-7, "{name}");
        }
    }
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn projections_are_written_as_out_by_in() {
    let weights = decoder().weights();
    assert_eq!(weights.get("model.embed_tokens.weight").unwrap().shape, [11, 8]);
    assert_eq!(weights.get("lm_head.weight").unwrap().shape, [11, 8]);
    assert_eq!(weights.get("model.layers.1.self_attn.k_proj.weight").unwrap().shape, [4, 8]);
    assert_eq!(weights.get("model.layers.0.mlp.down_proj.weight").unwrap().shape, [8, 12]);
    assert_eq!(weights.names().count(), 3 + 2 * 9);
}

#[test]
fn a_missing_superfluous_or_misshapen_tensor_is_named() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut weights = decoder().weights();
    weights.take(name, &[12, 8]).unwrap();
    let error = read(weights.clone()).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("[12, 8]"), "{error}");

    weights.insert(name, Array { shape: vec![8, 12], data: vec![0.0; 96] });
    let error = read(weights.clone()).unwrap_err().to_string();
    assert!(error.contains(name) && error.contains("[12, 8]") && error.contains("[8, 12]"));

    weights.insert(name, Array { shape: vec![12, 8], data: vec![0.0; 96] });
    weights.insert(
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        Array { shape: vec![1], data: vec![1.0] },
    );
    assert!(read(weights.clone()).is_ok());
    weights.insert("score.weight", Array { shape: vec![1, 8], data: vec![0.0; 8] });
    let error = read(weights).unwrap_err().to_string();
    assert!(error.contains("score.weight") && error.contains("[1, 8]"), "{error}");
}

#[test]
fn a_score_model_has_no_output_projection() {
    let scored = decoder().with_architecture(Architecture::Score);
    let mut weights = scored.weights();
    assert!(weights.get("lm_head.weight").is_none());
    weights.insert("score.weight", Array { shape: vec![1, 8], data: vec![0.5; 8] });
    let json = scored.config().to_json("float32");
    let config = ModelConfig::from_json(&json, "config.json").unwrap();
    assert_eq!(config.architecture, Architecture::Score);
    let mut weights =
        Weights::from_bytes(weights.to_bytes(Precision::F32).unwrap(), "model.safetensors")
            .unwrap();
    Decoder::<B>::from_weights(&config, &mut weights, &FlexDevice).unwrap();
    assert_eq!(weights.take("score.weight", &[1, 8]).unwrap(), [0.5; 8]);
    weights.finish().unwrap();
}

#[test]
fn weights_in_several_files_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let weights = decoder().weights();
    let mut parts = [Weights::default(), Weights::default()];
    let mut map = serde_json::Map::new();
    for (index, name) in weights.names().enumerate() {
        parts[index % 2].insert(name, weights.get(name).unwrap());
        map.insert(name.to_owned(), format!("part-{}.safetensors", index % 2).into());
    }
    for (index, part) in parts.iter().enumerate() {
        part.save(&folder.path().join(format!("part-{index}.safetensors")), Precision::F32)
            .unwrap();
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let together = Weights::from_folder(folder.path()).unwrap();
    for name in weights.names() {
        assert_eq!(together.get(name), weights.get(name), "{name}");
    }
    fs::remove_file(folder.path().join("part-1.safetensors")).unwrap();
    let error = Weights::from_folder(folder.path()).unwrap_err().to_string();
    assert!(error.contains("part-1.safetensors"), "{error}");
}

#[test]
fn a_folder_without_weights_names_the_file() {
    let error = Weights::from_folder(Path::new("nowhere")).unwrap_err().to_string();
    assert!(error.contains("nowhere/model.safetensors"), "{error}");
}

#[test]
fn numbers_of_other_types_are_refused() {
    let header = br#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 8]].concat();
    let mut weights = Weights::from_bytes(bytes, "w.safetensors").unwrap();
    assert!(weights.get("a").is_none());
    let error = weights.to_bytes(Precision::F32).unwrap_err().to_string();
    assert!(error.contains("w.safetensors") && error.contains("`a`") && error.contains("I64"));
    let error = weights.take("a", &[1]).unwrap_err().to_string();
    assert!(error.contains("w.safetensors") && error.contains("`a`") && error.contains("I64"));
}

proptest! {
    #[test]
    fn damaged_files_give_errors(cut in 0_usize..5000, place in 0_usize..700, byte: u8) {
        let bytes = decoder().weights().to_bytes(Precision::F16).unwrap();
        let short = &bytes[..cut.min(bytes.len() - 1)];
        prop_assert!(Weights::from_bytes(short.to_vec(), "w").is_err());
        let mut damaged = bytes;
        damaged[place] = byte;
        // Whatever the damage, an error or weights; never a panic.
        if let Ok(weights) = Weights::from_bytes(damaged, "w") {
            let _ = read(weights);
        }
    }
}

#[test]
fn brain_floats_are_read() {
    let header = br#"{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#;
    let numbers = [0x80, 0x3f, 0x00, 0xc0];
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &numbers].concat();
    let weights = Weights::from_bytes(bytes, "w").unwrap();
    assert_eq!(weights.get("a").unwrap().data, [1.0, -2.0]);
}
