//! What the tests of several files share.

use crate::Example;
use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use training::{Error, Observe};
use transformer::{ChatTemplate, Codec, Decoder, ModelConfig, SpecialTokens, Tokenizer};

pub(crate) type B = Autodiff<Flex>;

/// Two thin layers with a context of 16.
pub(crate) fn model(vocab_size: usize) -> ModelConfig {
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {vocab_size}, "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16,
            "tie_word_embeddings": true, "initializer_range": 0.1}}"#
    );
    ModelConfig::from_json(&json, "config.json").unwrap()
}

pub(crate) fn decoder(seed: u64) -> Decoder<B> {
    Decoder::init(&model(12), seed, &FlexDevice)
}

/// One token a word, and turns written as `<user>a<end>`.
pub(crate) fn codec() -> Codec {
    let json = r#"{
        "version": "1.0",
        "added_tokens": [
            {"id": 0, "content": "<end>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
            {"id": 1, "content": "<user>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false},
            {"id": 2, "content": "<assistant>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}
        ],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {
            "type": "WordLevel",
            "vocab": {"<end>": 0, "<user>": 1, "<assistant>": 2, "<unk>": 3, "a": 4, "b": 5, "c": 6},
            "unk_token": "<unk>"
        }
    }"#;
    let tokenizer = Tokenizer::from_bytes(json.as_bytes(), "tokenizer.json").unwrap();
    let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>\
        {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let special = SpecialTokens { bos: None, eos: Some("<end>".to_owned()) };
    let template = ChatTemplate::from_source(template, "chat_template.jinja", special).unwrap();
    Codec::new(tokenizer, template, [], 16)
}

/// Rows that count upwards from their index, of 2 to 9 tokens, with uneven weights.
pub(crate) fn counting(rows: usize) -> Vec<Example> {
    let row = |row: usize| {
        let length = 2 + row % 8;
        let tokens = (row..row + length).map(|token| u32::try_from(token % 12).unwrap()).collect();
        let weights = (0..length).map(|place| 0.5 + (place % 3) as f32).collect();
        Example { tokens, weights }
    };
    (0..rows).map(row).collect()
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) started: Option<(String, u64)>,
    pub(crate) steps: Vec<u64>,
    pub(crate) metrics: Vec<Vec<(String, f64)>>,
    pub(crate) finished: bool,
}

impl Records {
    /// The values of one metric, step by step.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        let of = |metrics: &Vec<(String, f64)>| {
            metrics.iter().find(|(found, _)| found == name).map(|&(_, value)| value).unwrap()
        };
        self.metrics.iter().map(of).collect()
    }
}

impl Observe for Records {
    fn start(&mut self, stage: &str, steps: u64, _done: u64) -> Result<(), Error> {
        self.started = Some((stage.to_owned(), steps));
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        self.steps.push(step);
        self.metrics.push(metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.finished = true;
        Ok(())
    }
}
