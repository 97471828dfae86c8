//! What tests of several files share.

use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::{Backend, Tensor};
use burn_flex::{Flex, FlexDevice};
use std::path::Path;
use training::{Checkpoint, Error, Observe, Owner, State};
use transformer::{
    ChatTemplate, Codec, Decoder, ModelConfig, SpecialTokens, Tokenizer, Transformer,
};

pub(crate) type B = Autodiff<Flex>;

const TEMPLATE: &str = "\
{%- for message in messages -%}
{{ '<|' + message['role'] + '|>' + message['content'] }}
{%- if message['role'] == 'assistant' -%}{{ '<|end|>' }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>' }}{%- endif -%}";

const SPECIAL: [&str; 3] = ["<|user|>", "<|assistant|>", "<|end|>"];

/// Tokens of the vocabulary: the letters a to z, the space and [`SPECIAL`].
pub(crate) const VOCABULARY: u32 = 30;

/// Tokens that a model of [`policy`] can hold.
pub(crate) const CONTEXT: usize = 32;

/// Fails unless both rows are equal within `tolerance`.
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{found:?} against {expected:?}");
    for (one, other) in found.iter().zip(expected) {
        assert!((one - other).abs() <= tolerance, "{found:?} against {expected:?}");
    }
}

/// All numbers of a module in the order of its parameters.
pub(crate) fn flat<M: Module<Flex>>(module: &M) -> Vec<f32> {
    let mut flat = Flat(Vec::new());
    module.visit(&mut flat);
    flat.0
}

struct Flat(Vec<f32>);

impl<B: Backend> ModuleVisitor<B> for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend(param.val().into_data().iter::<f32>());
    }
}

/// A byte-level BPE tokenizer without merges: one token a letter.
fn tokenizer() -> Tokenizer {
    // The byte-level alphabet writes the space as U+0120.
    let letters = ('a'..='z').chain(['\u{120}']).map(String::from);
    let words = letters.chain(SPECIAL.map(str::to_owned));
    let vocabulary: serde_json::Map<_, _> =
        words.zip(0..).map(|(word, id): (String, u32)| (word, id.into())).collect();
    let special: Vec<_> = SPECIAL
        .iter()
        .map(|&word| {
            serde_json::json!({"id": vocabulary[word], "content": word, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false})
        })
        .collect();
    let byte_level = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false,
        "trim_offsets": true, "use_regex": true});
    let json = serde_json::json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": special, "normalizer": null, "pre_tokenizer": byte_level,
        "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []}});
    Tokenizer::from_bytes(json.to_string().as_bytes(), "tokenizer.json").unwrap()
}

pub(crate) fn codec() -> Codec {
    let special = SpecialTokens { bos: None, eos: Some("<|end|>".to_owned()) };
    let template = ChatTemplate::from_source(TEMPLATE, "chat_template.jinja", special).unwrap();
    Codec::new(tokenizer(), template, [], CONTEXT)
}

/// A thin model with random weights, on a codec of letters.
pub(crate) fn policy(seed: u64) -> Transformer<B> {
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {VOCABULARY}, "hidden_size": 32,
            "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "max_position_embeddings": {CONTEXT}, "tie_word_embeddings": true}}"#
    );
    let config = ModelConfig::from_json(&json, "config.json").unwrap();
    Transformer::new(Decoder::init(&config, seed, &FlexDevice), codec())
}

/// The embedded model, of 2 million weights.
pub(crate) fn embedded() -> Decoder<B> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../model_organism/assistant");
    Decoder::from_folder(Path::new(folder), &FlexDevice).unwrap()
}

/// Keeps what it is told, and fails at a step of a stage, as if the process ended there.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The stages that began, with their steps.
    pub(crate) started: Vec<(String, u64)>,
    pub(crate) metrics: Vec<Vec<(String, f64)>>,
    pub(crate) texts: Vec<(u64, String)>,
    pub(crate) notes: Vec<String>,
    pub(crate) finished: bool,
    pub(crate) fail_at: Option<(&'static str, u64)>,
}

impl Records {
    /// The values of one metric, iteration by iteration; left out where it is missing.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        let all = self.metrics.iter().flatten();
        all.filter(|(found, _)| found == name).map(|&(_, value)| value).collect()
    }
}

impl Observe for Records {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        self.started.push((stage.to_owned(), steps));
        // What a state that was damaged takes back was recorded under the name of an earlier stage.
        self.metrics.resize(usize::try_from(done).unwrap(), Vec::new());
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        let stage = self.started.last().map_or("", |(stage, _)| stage.as_str());
        if self.fail_at == Some((stage, step)) {
            return Err(Error::Setting { setting: "test", found: String::new(), expected: "" });
        }
        assert_eq!(step, self.metrics.len() as u64 + 1);
        self.metrics.push(metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
        Ok(())
    }

    fn text(&mut self, step: u64, _name: &str, text: &str) -> Result<(), Error> {
        self.texts.push((step, text.to_owned()));
        Ok(())
    }

    fn note(&mut self, message: &str) {
        self.notes.push(message.to_owned());
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.finished = true;
        Ok(())
    }
}

/// Keeps the newest state in memory.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) newest: Option<(Owner, State)>,
}

impl Checkpoint for Kept {
    fn load(&mut self, owner: &Owner, _observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        Ok(self.newest.as_ref().map(|(of, state)| {
            assert_eq!(of, owner);
            state.clone()
        }))
    }

    fn is_due(&mut self, _step: u64) -> bool {
        true
    }

    fn save(&mut self, owner: &Owner, state: State) -> Result<(), Error> {
        self.newest = Some((owner.clone(), state));
        Ok(())
    }
}
