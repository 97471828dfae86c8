//! Files damaged at random and made to harm: an error or a model, never a panic, and no more memory than their size
//! explains.
#![allow(clippy::unwrap_used, reason = "tests on tiny files")]

use burn_flex::{Flex, FlexDevice};
use dialogue::Dialogue;
use peak_alloc::PeakAlloc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tempfile::TempDir;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, PreTokenizerWrapper};
use transformer::{
    ChatTemplate, Codec, Decoder, ModelConfig, ModelFiles, Precision, SpecialTokens, Tokenizer,
    Transformer, Weights,
};

type B = Flex;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What small things may take whatever the size of a file: paths, messages, buffers.
const SLACK: usize = 256 << 10;

/// The right to use memory: there is one count for the whole process, so that the tests of this file take turns.
struct Turn(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Turn {
    fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        files();
        Self(turn)
    }
}

/// Fails if `read` takes more memory at a time than `times` the size of what it reads.
fn bounded<T>(_: &Turn, bytes: usize, times: usize, read: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = read();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    assert!(peak <= times * bytes + SLACK, "{peak} bytes of memory for a file of {bytes}");
    result
}

const CONFIG: &str = r#"{
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300, "hidden_size": 8,
  "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "head_dim": 2, "max_position_embeddings": 64, "tie_word_embeddings": false, "rms_norm_eps": 1e-5,
  "eos_token_id": [2], "bos_token_id": 0, "hidden_act": "silu", "attention_bias": false, "torch_dtype": "float32",
  "rope_theta": 10000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
  "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
}"#;
const TEMPLATE: &str = "\
{%- for message in messages %}{% set name = message['role'] | trim %}{{ '<s>' + name + message.content }}{% endfor %}
{%- if add_generation_prompt %}{{ '<a>' }}{% endif %}";

/// The files of a model, by name.
fn files() -> &'static [(&'static str, Vec<u8>)] {
    static FILES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let config = ModelConfig::from_json(CONFIG, "config.json").unwrap();
        let weights = Decoder::<B>::init(&config, 3, &FlexDevice).weights();
        let tokenizer_config = json!({
            "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null,
            "chat_template": TEMPLATE, "model_max_length": 64,
            "added_tokens_decoder": {"0": {"content": "<s>", "special": true}},
        });
        let generation = json!({"eos_token_id": [2, 1], "bos_token_id": 0, "temperature": 0.6});
        vec![
            ("config.json", CONFIG.into()),
            ("model.safetensors", weights.to_bytes(Precision::F16).unwrap()),
            ("tokenizer.json", tokenizer()),
            ("tokenizer_config.json", tokenizer_config.to_string().into()),
            ("generation_config.json", generation.to_string().into()),
        ]
    })
}

fn file(name: &str) -> &'static [u8] {
    &files().iter().find(|(file, _)| *file == name).unwrap().1
}

fn tokenizer() -> Vec<u8> {
    let special = ["<s>", "</s>", "<a>"].map(|token| AddedToken::from(token, true));
    let trainer = BpeTrainer::builder()
        .vocab_size(280)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(special.to_vec());
    let mut tokenizer = tokenizers::Tokenizer::new(ModelWrapper::from(BPE::default()));
    let bytes = ByteLevel::new(false, true, true);
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::from(bytes)));
    tokenizer.with_decoder(Some(DecoderWrapper::from(bytes)));
    let mut trainer: TrainerWrapper = trainer.build().into();
    tokenizer.train(&mut trainer, ["a few words, a few more words"].iter()).unwrap();
    tokenizer.to_string(false).unwrap().into()
}

/// A folder with the model's files, one of them replaced.
fn folder(replaced: &str, bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files() {
        fs::write(folder.path().join(name), content).unwrap();
    }
    fs::write(folder.path().join(replaced), bytes).unwrap();
    folder
}

fn size(folder: &Path) -> usize {
    let sizes = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    usize::try_from(sizes.sum::<u64>()).unwrap()
}

/// What can happen to the bytes of a file.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    /// Repeats a part of the file in another place.
    Splice(Index, Index, usize),
    Insert(Index, Vec<u8>),
}

/// The first bytes of a weights file matter most, so that every other place is among them.
fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), 1_usize..40).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), any::<Index>(), 1_usize..400)
            .prop_map(|(from, to, length)| Damage::Splice(from, to, length)),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, new)| Damage::Insert(at, new)),
        (any::<Index>(), select(hostile_words()))
            .prop_map(|(at, word)| Damage::Insert(at, word.into())),
    ]
}

fn hostile_words() -> Vec<&'static str> {
    vec![
        "\"",
        "}",
        "]",
        "{",
        "[[[[[[",
        ",",
        ":",
        "null",
        "-1",
        "99999999999",
        "1e400",
        "\\u0000",
        "\\ud800",
        "{{",
        "{%",
        "(",
        "*",
        "\u{fffd}",
        "0",
        "999",
        "<s>",
        "__metadata__",
    ]
}

fn damaged(valid: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for damage in damages {
        let length = bytes.len() + 1;
        let place = |index: &Index, length: usize| index.index(length);
        match damage {
            Damage::Set(at, byte) if !bytes.is_empty() => {
                let at = place(at, bytes.len());
                bytes[at] = *byte;
            }
            Damage::Set(..) => {}
            Damage::Cut(at) => bytes.truncate(place(at, length)),
            Damage::Remove(at, count) => {
                let at = place(at, length);
                bytes.drain(at..(at + count).min(length - 1));
            }
            Damage::Splice(from, to, count) => {
                let (from, to) = (place(from, length), place(to, length));
                let part = bytes[from..(from + count).min(length - 1)].to_vec();
                bytes.splice(to..to, part);
            }
            Damage::Insert(at, new) => {
                let at = place(at, length);
                bytes.splice(at..at, new.iter().copied());
            }
        }
    }
    bytes
}

/// Replaces one value somewhere in a JSON document.
fn replace(document: &mut Value, mut at: usize, by: &Value) {
    let children = |value: &Value| match value {
        Value::Array(items) => items.len(),
        Value::Object(items) => items.len(),
        _ => 0,
    };
    let count = children(document);
    // Half of the time here, otherwise on the way down.
    if count == 0 || at % 8 == 7 {
        *document = by.clone();
        return;
    }
    at /= 8;
    let child = at % count;
    match document {
        Value::Array(items) => replace(&mut items[child], at / count, by),
        Value::Object(items) => {
            if let Some(item) = items.values_mut().nth(child) {
                replace(item, at / count, by);
            }
        }
        _ => {}
    }
}

fn hostile_value() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(7),
        json!(1_000_000_000),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(u32::MAX),
        json!(1e300),
        json!(0.5),
        json!(""),
        json!("x"),
        json!("<s>"),
        json!("("),
        json!("(a*)*$"),
        json!([]),
        json!([[]]),
        json!({}),
        json!([-1, 4_294_967_296_u64]),
        json!(["<s>", "x"]),
        json!({"0": 1}),
        json!("\u{0}"),
        json!("Ġ"),
        json!("{{"),
        json!("a".repeat(300)),
    ])
}

fn weights_read(bytes: &[u8]) {
    let turn = Turn::take();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    let read = bounded(&turn, bytes.len(), 8, || Weights::from_folder(folder.path()));
    let held = bounded(&turn, bytes.len(), 8, || Weights::from_bytes(bytes.to_vec(), "w"));
    assert_eq!(read.is_ok(), held.is_ok());
    let Ok(mut weights) = read else { return };
    // What is accepted here is what the library of the format accepts, with the same tensors.
    let reference = safetensors::SafeTensors::deserialize(bytes).unwrap();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    assert_eq!(names.len(), reference.len());
    for name in names {
        let expected = reference.tensor(&name).unwrap();
        let shape = weights.shape(&name).unwrap().to_vec();
        assert_eq!(shape, expected.shape());
        let numbers = bounded(&turn, bytes.len(), 4, || weights.take(&name, &shape));
        if let Ok(numbers) = numbers {
            assert_eq!(numbers.len(), shape.iter().product::<usize>());
        }
    }
    weights.finish().unwrap();
}

/// A header of few tensors whose names, shapes and places are often right and often absurd.
fn header() -> impl Strategy<Value = String> {
    let number = || {
        select(vec![
            "0",
            "1",
            "2",
            "4",
            "8",
            "12",
            "16",
            "24",
            "-1",
            "1e3",
            "4611686018427387904",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "\"8\"",
            "null",
        ])
    };
    let name = select(vec!["a", "b", "c", "__metadata__", "", "\\ud800", "\\u0000"]);
    let kind =
        select(vec!["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F4", "F6_E2M3", "X", ""]);
    let tensor = (name, kind, vec(number(), 0..4), number(), number()).prop_map(
        |(name, kind, shape, start, end)| {
            let shape = shape.join(",");
            format!(
                r#""{name}":{{"dtype":"{kind}","shape":[{shape}],"data_offsets":[{start},{end}]}}"#
            )
        },
    );
    vec(tensor, 0..5).prop_map(|tensors| format!("{{{}}}", tensors.join(",")))
}

/// A text side that was read is also used.
fn use_codec(codec: &Codec) {
    let dialogue = Dialogue::from_user("a few words <s> é \u{0}");
    let tokens = codec.encode_text("a few more words").unwrap_or_default();
    let _ = codec.encode_prompt(&dialogue);
    let _ = codec.encode_dialogue(&dialogue.clone().with_assistant("words"));
    let tokens: Vec<u32> = tokens.into_iter().chain([0, 7, 255, 299, u32::MAX]).collect();
    let _ = codec.decode(&tokens);
    let _ = codec.pieces(&tokens);
    let _ = codec.reply(&dialogue, &tokens, &[]);
}

fn text_side(replaced: &str, bytes: &[u8]) -> ModelFiles {
    let of = |name: &str| if name == replaced { bytes.to_vec() } else { file(name).to_vec() };
    ModelFiles {
        name: "hostile".to_owned(),
        config: of("config.json").into(),
        weights: Vec::new().into(),
        tokenizer: of("tokenizer.json").into(),
        tokenizer_config: Some(of("tokenizer_config.json").into()),
        chat_template: None,
        generation_config: Some(of("generation_config.json").into()),
    }
}

#[test]
fn the_undamaged_model_is_read() {
    weights_read(file("model.safetensors"));
    let _turn = Turn::take();
    let folder = folder("config.json", file("config.json"));
    let model = Transformer::<B>::from_folder(folder.path(), &FlexDevice).unwrap();
    use_codec(&model.codec);
    assert_eq!(model.codec.encode_text("<s>a").unwrap()[0], 0);
}

/// Not twice the model, as it would be with all files read or all numbers converted first.
#[test]
fn reading_takes_the_memory_of_the_model_and_of_few_tensors() {
    let turn = Turn::take();
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    for (key, size) in [
        ("hidden_size", 256),
        ("head_dim", 64),
        ("intermediate_size", 512),
        ("num_hidden_layers", 4),
    ] {
        config[key] = size.into();
    }
    let config = ModelConfig::from_json(&config.to_string(), "config.json").unwrap();
    let folder = tempfile::tempdir().unwrap();
    Decoder::<B>::init(&config, 3, &FlexDevice).save(folder.path(), Precision::F32).unwrap();
    let model = config.parameters().unwrap() * size_of::<f32>();
    let largest = 512 * 256 * size_of::<f32>();
    let read = || Decoder::<B>::from_folder(folder.path(), &FlexDevice).unwrap();
    bounded(&turn, model + 3 * largest, 1, read);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_weights(damages in vec(damage(), 1..4)) {
        weights_read(&damaged(file("model.safetensors"), &damages));
    }

    #[test]
    fn damaged_headers(damages in vec(damage(), 1..4)) {
        let valid = file("model.safetensors");
        let length = usize::try_from(u64::from_le_bytes(*valid.first_chunk().unwrap())).unwrap();
        let header = damaged(&valid[8..8 + length], &damages);
        let length = (header.len() as u64).to_le_bytes();
        weights_read(&[&length[..], &header, &valid[8 + header.len().min(valid.len() - 8)..]].concat());
    }

    #[test]
    fn hostile_headers(header in header(), claimed in prop_oneof![9 => Just(None), 1 => any::<u64>().prop_map(Some)], numbers in 0_usize..40) {
        let length = claimed.unwrap_or(header.len() as u64).to_le_bytes();
        weights_read(&[&length[..], header.as_bytes(), &vec![0; numbers]].concat());
    }

    #[test]
    fn damaged_indices(damages in vec(damage(), 0..3), names in vec(select(vec!["a", "b", "", "../a", "/dev/zero", "sub"]), 3)) {
        let turn = Turn::take();
        let folder = tempfile::tempdir().unwrap();
        for (name, tensor) in [("a", "x"), ("b", "y")] {
            let mut weights = Weights::default();
            let array = transformer::Array { shape: vec![1], data: vec![1.0] };
            weights.insert(tensor, array);
            weights.save(&folder.path().join(format!("{name}.safetensors")), Precision::F32).unwrap();
        }
        let shards: Vec<String> = names.iter().map(|name| format!("{name}.safetensors")).collect();
        let index = json!({"metadata": {}, "weight_map": {"x": shards[0], "y": shards[1], "z": shards[2]}});
        let index = damaged(index.to_string().as_bytes(), &damages);
        fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let _ = bounded(&turn, size(folder.path()), 8, || Weights::from_folder(folder.path()));
    }

    #[test]
    fn hostile_configurations(at: usize, value in hostile_value(), again: usize, other in hostile_value()) {
        let turn = Turn::take();
        let mut config: Value = serde_json::from_str(CONFIG).unwrap();
        replace(&mut config, at, &value);
        replace(&mut config, again, &other);
        let folder = folder("config.json", config.to_string().as_bytes());
        let _ = bounded(&turn, size(folder.path()), 16, || Decoder::<B>::from_folder(folder.path(), &FlexDevice));
    }

    #[test]
    fn damaged_configurations(damages in vec(damage(), 1..4)) {
        let turn = Turn::take();
        let folder = folder("config.json", &damaged(CONFIG.as_bytes(), &damages));
        let _ = bounded(&turn, size(folder.path()), 16, || Decoder::<B>::from_folder(folder.path(), &FlexDevice));
    }

    #[test]
    fn damaged_text_sides(name in select(vec!["tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"]), damages in vec(damage(), 1..4)) {
        let _turn = Turn::take();
        if let Ok(codec) = Codec::from_files(&text_side(name, &damaged(file(name), &damages))) {
            use_codec(&codec);
        }
    }

    #[test]
    fn hostile_text_sides(name in select(vec!["tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"]), at: usize, value in hostile_value()) {
        let _turn = Turn::take();
        let mut document: Value = serde_json::from_slice(file(name)).unwrap();
        replace(&mut document, at, &value);
        if let Ok(codec) = Codec::from_files(&text_side(name, document.to_string().as_bytes())) {
            use_codec(&codec);
        }
    }

    #[test]
    fn damaged_chat_templates(damages in vec(damage(), 1..4)) {
        let _turn = Turn::take();
        let source = damaged(TEMPLATE.as_bytes(), &damages);
        let source = String::from_utf8_lossy(&source);
        if let Ok(template) = ChatTemplate::from_source(&source, "t", SpecialTokens::default()) {
            let _ = template.render(&Dialogue::from_user("x"), true);
        }
    }
}

/// What a configuration claims costs nothing before the weights are seen to agree.
#[test]
fn claims_without_weights_take_no_memory() {
    let turn = Turn::take();
    let keys = [
        "num_hidden_layers",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
    ];
    for key in keys {
        for claim in [1_000_000_000_u64, 1 << 40, u64::from(u32::MAX) + 1, u64::MAX] {
            let mut config: Value = serde_json::from_str(CONFIG).unwrap();
            config[key] = claim.into();
            if key.contains("heads") {
                config["head_dim"] = json!(2);
                config["num_key_value_heads"] = claim.into();
                config["num_attention_heads"] = claim.into();
            }
            let folder = folder("config.json", config.to_string().as_bytes());
            let read = || Decoder::<B>::from_folder(folder.path(), &FlexDevice);
            let decoder = bounded(&turn, size(folder.path()), 16, read);
            // A long context needs no weights: only what is written into it takes memory.
            assert!(decoder.is_err() || key == "max_position_embeddings", "{key} = {claim}");
        }
    }
}

/// Parts of tokenizers that do not fit the others, or themselves.
#[allow(clippy::too_many_lines, reason = "a list")]
fn unfit_parts() -> Vec<(&'static str, Value)> {
    let template = |special: Value, single: Value| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special});
    let unigram = |vocab: Value, unknown: Value| json!({"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": true});
    vec![
        (
            "post_processor",
            template(
                json!({}),
                json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
            ),
        ),
        (
            "post_processor",
            template(
                json!({"<s>": {"id": "<s>", "ids": [0, 1], "tokens": ["<s>"]}}),
                json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
            ),
        ),
        (
            "post_processor",
            template(
                json!({"<s>": {"id": "<s>", "ids": [4_294_967_295_u32], "tokens": ["<s>"]}}),
                json!([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 7}}]),
            ),
        ),
        (
            "post_processor",
            json!({"type": "RobertaProcessing", "sep": ["x", 4_294_967_295_u32], "cls": ["y", 4_294_967_295_u32], "trim_offsets": true, "add_prefix_space": true}),
        ),
        ("model", unigram(json!([]), json!(0))),
        ("model", unigram(json!([]), json!(null))),
        ("model", unigram(json!([["a", -1.0]]), json!(5))),
        ("model", unigram(json!([["", 0.0], ["a", 1e300], ["b", -1e300]]), json!(0))),
        ("model", json!({"type": "WordLevel", "vocab": {}, "unk_token": "none"})),
        (
            "model",
            json!({"type": "WordLevel", "vocab": {"a": 4_294_967_295_u32}, "unk_token": "a"}),
        ),
        (
            "model",
            json!({"type": "WordPiece", "vocab": {}, "unk_token": "none", "continuing_subword_prefix": "##", "max_input_chars_per_word": 0}),
        ),
        ("model", json!({"type": "BPE", "vocab": {}, "merges": [], "unk_token": "x"})),
        ("model", json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]})),
        ("model", json!({"type": "BPE", "vocab": {"a": 0, "": 1}, "merges": [["", ""]]})),
        (
            "model",
            json!({"type": "BPE", "vocab": {"a": 0, "aa": 4_294_967_295_u32}, "merges": [["a", "a"]], "continuing_subword_prefix": "Ġlong"}),
        ),
        (
            "model",
            json!({"type": "BPE", "vocab": {"a": 0, "éa": 1, "é": 2}, "merges": [["é", "a"]], "continuing_subword_prefix": "a"}),
        ),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""})),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "//////////////////////////8="}),
        ),
        ("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8AAAAA"})),
        ("normalizer", json!({"type": "Replace", "pattern": {"Regex": "(((("}, "content": ""})),
        (
            "normalizer",
            json!({"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": "\u{0}"}),
        ),
        ("normalizer", json!({"type": "Replace", "pattern": {"String": ""}, "content": "xx"})),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": true}),
        ),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"String": ""}, "behavior": "Removed", "invert": false}),
        ),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        (
            "pre_tokenizer",
            json!({"type": "Metaspace", "replacement": "", "prepend_scheme": "always", "split": true}),
        ),
        (
            "decoder",
            json!({"type": "Strip", "content": "w", "start": 4_294_967_295_u32, "stop": 4_294_967_295_u32}),
        ),
        ("decoder", json!({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})),
        (
            "decoder",
            json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true}),
        ),
        ("decoder", json!({"type": "WordPiece", "prefix": "", "cleanup": true})),
        ("decoder", json!({"type": "BPEDecoder", "suffix": ""})),
        (
            "added_tokens",
            json!([{"id": 4_294_967_295_u32, "content": "<x>", "single_word": true, "lstrip": true, "rstrip": true, "normalized": true, "special": true}]),
        ),
        (
            "added_tokens",
            json!([{"id": 3, "content": "", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}]),
        ),
        (
            "truncation",
            json!({"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 9}),
        ),
        (
            "padding",
            json!({"strategy": {"Fixed": 1_000_000_000_u64}, "direction": "Left", "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": "<s>"}),
        ),
    ]
}

#[test]
fn hostile_tokenizers() {
    let _turn = Turn::take();
    let base: Value = serde_json::from_slice(file("tokenizer.json")).unwrap();
    for (part, value) in unfit_parts() {
        let mut document = base.clone();
        document[part] = value;
        let json = document.to_string();
        if let Ok(tokenizer) = Tokenizer::from_bytes(json.as_bytes(), "t") {
            let _ = tokenizer.decode(&[0, 3, u32::MAX]);
            let _ = tokenizer.encode_with_special_tokens("a few wörds");
        }
        if let Ok(codec) = Codec::from_files(&text_side("tokenizer.json", json.as_bytes())) {
            use_codec(&codec);
        }
    }
}

/// Templates that would never end, fail deep down or write without end.
#[test]
fn hostile_templates() {
    let _turn = Turn::take();
    let cases = [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}0123456789{% endfor %}{% endfor %}",
        "{{ 'a' * 1000000000000 }}",
        "{{ range(1000000000000) | list }}",
        "{{ 10 ** 1000000 }}",
        "{{ 'abc'[18446744073709551615:] ~ 1 % 0 }}",
        "{{ strftime_now('%') }}",
        "{%}",
        "{%-%}{%",
        "{{ messages[0]['content'].split('')[-1][9] }}{{ none.none.none }}",
    ];
    for source in cases {
        let Ok(template) = ChatTemplate::from_source(source, "t", SpecialTokens::default()) else {
            continue;
        };
        let before = MEMORY.current_usage();
        let rendered = template.render(&Dialogue::from_user("x"), true);
        let kept = MEMORY.current_usage().saturating_sub(before);
        assert!(rendered.is_err(), "{source}: {} bytes", rendered.unwrap_or_default().len());
        assert!(kept < 1 << 20, "{source}: {kept}");
    }
}
