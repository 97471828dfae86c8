//! `config.json` of every family, read, checked and written.
#![allow(clippy::unwrap_used, reason = "tests on tiny models")]

use proptest::prelude::*;
use transformer::{
    Activation, Architecture, Error, Family, ModelConfig, Positions, Rope, RopeScaling,
};

const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 11, "hidden_size": 8,
  "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "max_position_embeddings": 16, "tie_word_embeddings": false, "eos_token_id": [2, 3], "use_cache": true
}"#;

fn config() -> ModelConfig {
    ModelConfig::from_json(CONFIG, "config.json").unwrap()
}

fn rope(config: &ModelConfig) -> &Rope {
    match &config.positions {
        Positions::Rotary(rope) => rope,
        Positions::Learned => panic!("positions are learned"),
    }
}

fn with(key: &str, value: serde_json::Value) -> Result<ModelConfig, Error> {
    let mut json: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
    json[key] = value;
    ModelConfig::from_json(&json.to_string(), "config.json")
}

#[test]
fn defaults_are_those_of_hugging_face() {
    let config = config();
    assert_eq!((config.head_dim, config.num_key_value_heads), (2, 2));
    assert_eq!(
        with("num_key_value_heads", serde_json::Value::Null).unwrap().num_key_value_heads,
        4
    );
    assert_eq!((rope(&config).theta, config.norm_epsilon), (10_000.0, 1e-6));
    assert_eq!(config.eos_token_id, [2, 3]);
    assert_eq!(with("eos_token_id", 7.into()).unwrap().eos_token_id, [7]);
    assert_eq!(
        config.parameters(),
        Some(2 * 11 * 8 + 8 + 2 * (2 * 8 + 8 * 8 * 2 + 8 * 4 * 2 + 3 * 8 * 12))
    );
}

#[test]
fn unknown_keys_are_kept() {
    let json: serde_json::Value = serde_json::from_str(&config().to_json("float16")).unwrap();
    assert_eq!(json["use_cache"], true);
    assert_eq!(json["torch_dtype"], "float16");
}

#[test]
fn both_spellings_of_rotary_settings_are_read() {
    let scaling = serde_json::json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8});
    let old = with("rope_scaling", scaling.clone()).unwrap();
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8,
    };
    assert_eq!(rope(&old).scaling, expected);
    let mut parameters = scaling;
    parameters["rope_theta"] = 5e5.into();
    let new = with("rope_parameters", parameters).unwrap();
    assert_eq!((rope(&new).theta, rope(&new).scaling), (5e5, expected));
    let again = ModelConfig::from_json(&new.to_json("float32"), "config.json").unwrap();
    assert_eq!(rope(&again), rope(&new));
}

#[test]
fn what_is_not_supported_is_named() {
    let cases = [
        ("architectures", serde_json::json!(["BloomForCausalLM"]), "BloomForCausalLM"),
        ("architectures", serde_json::json!(["MistralForCausalLM"]), "model_type"),
        ("hidden_act", "mish".into(), "mish"),
        ("quantization_config", serde_json::json!({"quant_method": "gptq"}), "gptq"),
        ("rope_scaling", serde_json::json!({"type": "yarn", "factor": 2.0}), "yarn"),
        ("rope_scaling", serde_json::json!({"type": "llama3", "factor": 2.0}), "low_freq_factor"),
        ("num_key_value_heads", 3.into(), "num_key_value_heads"),
        ("head_dim", 3.into(), "head_dim"),
        ("hidden_size", 0.into(), "hidden_size"),
        ("hidden_size", 1.5.into(), "hidden_size"),
        ("vocab_size", serde_json::json!(1_u64 << 60), "vocab_size"),
        ("num_hidden_layers", serde_json::json!(1_u64 << 29), "num_hidden_layers"),
        ("rope_theta", (-1).into(), "rope_theta"),
        ("rms_norm_eps", 0.into(), "rms_norm_eps"),
        ("vocab_size", "many".into(), "vocab_size"),
        ("attention_bias", 1.into(), "attention_bias"),
        ("eos_token_id", "end".into(), "eos_token_id"),
    ];
    for (key, value, named) in cases {
        let error = with(key, value).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("config.json"), "{error}");
    }
    for text in ["[]", "{", "7"] {
        let error = ModelConfig::from_json(text, "config.json").unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
    }
}

#[test]
fn settings_are_named_as_their_file_names_them() {
    for (key, value) in
        [("n_embd", "0"), ("n_head", "3"), ("layer_norm_epsilon", "-1"), ("n_positions", "0")]
    {
        let text = format!(
            r#"{{"model_type": "gpt2", "vocab_size": 11, "n_embd": 8, "n_layer": 2, "n_head": 2, "{key}": {value}}}"#
        );
        let error = ModelConfig::from_json(&text, "config.json").unwrap_err().to_string();
        assert!(error.contains(&format!("`{key}`")), "{error}");
    }
}

#[test]
fn an_unknown_architecture_lists_those_supported() {
    for text in [r#"{"architectures": ["BloomForCausalLM"]}"#, r#"{"model_type": "bloom"}"#, "{}"] {
        let error = ModelConfig::from_json(text, "config.json").unwrap_err().to_string();
        for family in ["llama", "mistral", "qwen2", "qwen3", "gemma3", "gpt2", "gptneox"] {
            let error = error.to_lowercase().replace('_', "");
            assert!(error.contains(family), "{error}");
        }
    }
}

#[test]
fn families_have_their_own_defaults() {
    let read = |text: &str| ModelConfig::from_json(text, "config.json").unwrap();
    let sizes = r#""vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 7,
        "num_attention_heads": 4"#;
    let of =
        |kind: &str, more: &str| read(&format!(r#"{{"model_type": "{kind}", {sizes}{more}}}"#));

    let mistral = of("mistral", "").sliding_window.unwrap();
    assert_eq!((mistral.size, mistral.layers), (4096, vec![true; 7]));
    assert_eq!(of("mistral", r#", "sliding_window": null"#).sliding_window, None);

    let qwen2 = of("qwen2", r#", "sliding_window": 4, "max_window_layers": 5"#);
    assert!(qwen2.query_bias && !qwen2.attention_output_bias);
    assert_eq!(qwen2.sliding_window, None);
    let window = r#", "use_sliding_window": true, "sliding_window": 4, "max_window_layers": 5"#;
    let layers = of("qwen2", window).sliding_window.unwrap().layers;
    assert_eq!(layers, [false, false, false, false, false, true, true]);
    assert_eq!(of("qwen3", "").head_dim, 128);

    let gemma = of("gemma3_text", "");
    assert_eq!((gemma.hidden_act, gemma.head_dim), (Activation::GeluTanh, 256));
    assert!(gemma.tie_word_embeddings);
    assert_eq!((rope(&gemma).theta, rope(&gemma).local_theta), (1e6, Some(1e4)));
    let window = gemma.sliding_window.unwrap();
    assert_eq!(window.layers, [true, true, true, true, true, false, true]);
    let capped =
        format!(r#"{{"model_type": "gemma3_text", {sizes}, "attn_logit_softcapping": 50}}"#);
    assert!(ModelConfig::from_json(&capped, "config.json").is_err());

    let gpt2 =
        r#"{"model_type": "gpt2", "vocab_size": 11, "n_embd": 8, "n_layer": 2, "n_head": 2}"#;
    let gpt2 = read(gpt2);
    assert_eq!((gpt2.intermediate_size, gpt2.max_position_embeddings), (32, 1024));
    assert_eq!(gpt2.positions, Positions::Learned);
    // Two tables, two layers of attention and feed-forward with their constants and norms, the last norm.
    let layer = 8 * 24 + 24 + 8 * 8 + 8 + 8 * 32 + 32 + 32 * 8 + 8 + 2 * 16;
    assert_eq!(gpt2.parameters(), Some(11 * 8 + 1024 * 8 + 2 * layer + 16));

    let neox = of("gpt_neox", r#", "rotary_pct": 1.0, "rotary_emb_base": 500"#);
    assert!(neox.parallel_residual && neox.query_bias && neox.attention_output_bias);
    assert_eq!((rope(&neox).theta, rope(&neox).dimensions), (500.0, 2));
    // The older and the newer way to say that half of a head turns.
    for half in [
        r#", "hidden_size": 32, "rotary_pct": 0.5"#,
        r#", "hidden_size": 32, "rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 500.0}"#,
    ] {
        let text = of_text("gpt_neox", half);
        assert_eq!(rope(&read(&text)).dimensions, 4, "{text}");
    }
    let partial = of_text("llama", r#", "partial_rotary_factor": 0.5"#);
    let error = ModelConfig::from_json(&partial, "config.json").unwrap_err().to_string();
    assert!(error.contains("partial_rotary_factor"), "{error}");
}

fn of_text(kind: &str, more: &str) -> String {
    format!(
        r#"{{"model_type": "{kind}", "vocab_size": 11, "intermediate_size": 12, "num_hidden_layers": 7,
            "num_attention_heads": 4{}{more}}}"#,
        if more.contains("hidden_size") { "" } else { r#", "hidden_size": 8"# }
    )
}

#[test]
fn what_is_written_is_read_again() {
    let sizes = r#""vocab_size": 11, "hidden_size": 16, "intermediate_size": 12, "num_hidden_layers": 3,
        "num_attention_heads": 2, "max_position_embeddings": 77, "eos_token_id": [1, 2], "pad_token_id": 1,
        "tie_word_embeddings": true, "initializer_range": 0.1, "kept": {"a": [1]}"#;
    let more = [
        (
            "llama",
            r#", "attention_bias": true, "mlp_bias": true, "rope_scaling": {"type": "linear", "factor": 2.0}"#,
        ),
        ("mistral", r#", "sliding_window": 9, "head_dim": 6, "num_key_value_heads": 1"#),
        ("mistral", r#", "sliding_window": null"#),
        ("qwen2", r#", "use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1"#),
        ("qwen3", r#", "head_dim": 4, "attention_bias": true"#),
        (
            "gemma3_text",
            r#", "head_dim": 4, "query_pre_attn_scalar": 5, "sliding_window_pattern": 2"#,
        ),
        (
            "gpt_neox",
            r#", "rotary_pct": 0.5, "use_parallel_residual": false, "attention_bias": false"#,
        ),
    ];
    let mut texts: Vec<String> = more
        .iter()
        .map(|(kind, more)| format!(r#"{{"model_type": "{kind}", {sizes}{more}}}"#))
        .collect();
    texts.push(
        r#"{"model_type": "gpt2", "vocab_size": 11, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_inner": 9,
            "n_positions": 31, "tie_word_embeddings": false, "activation_function": "relu"}"#
            .to_owned(),
    );
    for text in texts {
        let config = ModelConfig::from_json(&text, "config.json").unwrap();
        for architecture in [Architecture::CausalLm, Architecture::Score] {
            let config = ModelConfig { architecture, ..config.clone() };
            let written = config.to_json("float32");
            let mut again = ModelConfig::from_json(&written, "config.json").unwrap();
            for key in ["torch_dtype", "id2label", "label2id"] {
                again.other.remove(key);
            }
            // The list says the same as the period.
            let mut config = config;
            config.other.remove("sliding_window_pattern");
            assert_eq!(again, config, "{written}");
        }
    }
    assert_eq!(Family::ALL.len(), 7);
}

proptest! {
    #[test]
    fn no_sizes_make_a_configuration_panic(sizes in proptest::collection::vec(any::<u64>(), 8)) {
        let keys = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "head_dim", "max_position_embeddings"];
        let mut json: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
        for (index, (key, size)) in keys.iter().zip(sizes).enumerate() {
            json[key] = (size >> (size % 64) >> (index % 3)).into();
        }
        if let Ok(config) = ModelConfig::from_json(&json.to_string(), "config.json") {
            prop_assert!(config.parameters().is_some());
        }
    }
}
