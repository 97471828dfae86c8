//! What the tests of several files share.

use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use dialogue::{Comparison, Dialogue, Preference};
use training::Observe;
use transformer::{
    ChatTemplate, Codec, Decoder, ModelConfig, ScalarHead, ScalarModel, SpecialTokens, Tokenizer,
    Transformer,
};

pub(crate) type B = Autodiff<Flex>;

const SPECIAL: [&str; 3] = ["<end>", "<user>", "<assistant>"];
const WORDS: [&str; 9] = ["<unk>", "a", "b", "c", "d", "q", "r", "good", "bad"];

/// Two thin layers with a context of 16.
pub(crate) fn model_config() -> ModelConfig {
    let json = r#"{"model_type": "llama", "vocab_size": 12, "hidden_size": 16, "intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16,
        "initializer_range": 0.1}"#;
    ModelConfig::from_json(json, "config.json").unwrap()
}

pub(crate) fn scalar_model(seed: u64) -> ScalarModel<Flex> {
    let head = ScalarHead::init(16, seed, &FlexDevice);
    ScalarModel::new(Decoder::init(&model_config(), seed, &FlexDevice), head)
}

/// One token a word, and turns written as `<user>q<end>`.
pub(crate) fn codec() -> Codec {
    let words = SPECIAL.iter().chain(&WORDS).enumerate();
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        words.map(|(id, word)| ((*word).to_owned(), id.into())).collect();
    let special: Vec<_> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            serde_json::json!({
                "id": id, "content": content, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            })
        })
        .collect();
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>" },
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes(), "tokenizer.json").unwrap();
    let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>\
        {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let special = SpecialTokens { bos: None, eos: Some("<end>".to_owned()) };
    let template = ChatTemplate::from_source(template, "chat_template.jinja", special).unwrap();
    Codec::new(tokenizer, template, [], 16)
}

pub(crate) fn transformer(seed: u64) -> Transformer<B> {
    let decoder = Decoder::init(&model_config(), seed, &FlexDevice);
    Transformer::new(decoder, codec())
}

/// A pair whose chosen reply stays the first, whatever the probability.
pub(crate) fn preference(
    prompt: &str,
    chosen: &str,
    rejected: &str,
    probability: f64,
) -> Preference {
    let replies = [chosen.to_owned(), rejected.to_owned()];
    let pair = Comparison { prompt: Dialogue::from_user(prompt), replies };
    Preference { probability, ..Preference::from_comparison(pair, 1.0) }
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
    /// One metric of a step, counted from 0.
    pub(crate) fn metric(&self, step: usize, name: &str) -> f64 {
        self.metrics[step].iter().find(|(found, _)| found == name).unwrap().1
    }
}

impl Observe for Records {
    fn start(&mut self, stage: &str, steps: u64, _done: u64) -> Result<(), training::Error> {
        self.started = Some((stage.to_owned(), steps));
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), training::Error> {
        self.steps.push(step);
        self.metrics.push(metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), training::Error> {
        self.finished = true;
        Ok(())
    }
}
