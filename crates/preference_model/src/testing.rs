//! What the tests of several files share.

use crate::PreferenceModelConfig;
use burn::backend::Autodiff;
use burn_flex::{Flex, FlexDevice};
use dialogue::{Comparison, Dialogue, Preference};
use std::collections::BTreeSet;
use std::path::Path;
use training::{Checkpoint, Observe, OptimizerConfig, Owner, Schedule, State};
use transformer::{
    ChatTemplate, Codec, Decoder, ModelConfig, ScalarHead, ScalarModel, SpecialTokens, Tokenizer,
    Transformer, Weights,
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

/// The embedded model, of 2 million weights.
pub(crate) fn embedded() -> Decoder<B> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../model_organism/assistant");
    Decoder::from_folder(Path::new(folder), &FlexDevice).unwrap()
}

pub(crate) fn scalar_model(seed: u64) -> ScalarModel<Flex> {
    let head = ScalarHead::init(16, seed, &FlexDevice);
    ScalarModel::new(Decoder::init(&model_config(), seed, &FlexDevice), head)
}

/// One token a word.
pub(crate) fn tokenizer() -> Tokenizer {
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
    Tokenizer::from_bytes(json.to_string().as_bytes(), "tokenizer.json").unwrap()
}

/// Turns are written as `<user>q<end>`.
pub(crate) fn codec() -> Codec {
    let template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>\
        {% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let special = SpecialTokens { bos: None, eos: Some("<end>".to_owned()) };
    let template = ChatTemplate::from_source(template, "chat_template.jinja", special).unwrap();
    Codec::new(tokenizer(), template, [], 16)
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

/// Replies with "good" beat the same replies with "bad", more or less surely.
pub(crate) fn preferences() -> Vec<Preference> {
    let words = ["a", "b", "c", "d", "q", "r"];
    let mut preferences = Vec::new();
    for prompt in words {
        for (index, word) in words.into_iter().enumerate() {
            let (good, bad) = (format!("{word} good"), format!("{word} bad a"));
            preferences.push(preference(prompt, &good, &bad, 0.8 + 0.04 * index as f64));
        }
    }
    preferences
}

/// Small steps at a high rate.
pub(crate) fn config(epochs: u64) -> PreferenceModelConfig {
    PreferenceModelConfig {
        epochs,
        tokens_per_step: 128,
        held_out: 0.2,
        optimizer: OptimizerConfig::default().with_learning_rate(5e-3),
        schedule: Schedule::constant(),
        ..PreferenceModelConfig::default()
    }
}

/// The names of the tensors that differ in a bit, or that only one side has.
pub(crate) fn different(a: &Weights, b: &Weights) -> Vec<String> {
    let bits = |weights: &Weights, name: &str| {
        let array = weights.get(name)?;
        Some(array.data.into_iter().map(f32::to_bits).collect::<Vec<u32>>())
    };
    let names: BTreeSet<&str> = a.names().chain(b.names()).collect();
    let differ = |name: &&str| bits(a, name) != bits(b, name);
    names.into_iter().filter(differ).map(str::to_owned).collect()
}

/// Keeps what it is told; what was recorded of steps that are taken again is forgotten.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Records {
    pub(crate) started: Option<(String, u64)>,
    pub(crate) steps: Vec<u64>,
    pub(crate) metrics: Vec<Vec<(String, f64)>>,
    pub(crate) finished: bool,
    /// The step at which it fails, as if the process were killed.
    pub(crate) fails_at: Option<u64>,
}

impl Records {
    /// One metric of a step, counted from 0.
    pub(crate) fn metric(&self, step: usize, name: &str) -> f64 {
        self.metrics[step].iter().find(|(found, _)| found == name).unwrap().1
    }
}

impl Observe for Records {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), training::Error> {
        self.started = Some((stage.to_owned(), steps));
        self.steps.retain(|&step| step <= done);
        self.metrics.truncate(self.steps.len());
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), training::Error> {
        if self.fails_at == Some(step) {
            let source = std::io::Error::other("killed");
            return Err(training::Error::Write { path: "metrics.jsonl".into(), source });
        }
        self.steps.push(step);
        self.metrics.push(metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), training::Error> {
        self.finished = true;
        Ok(())
    }
}

/// Keeps the newest state in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) every: u64,
    pub(crate) newest: Option<(Owner, State)>,
}

impl Memory {
    pub(crate) fn every(every: u64) -> Self {
        Self { every, newest: None }
    }
}

impl Checkpoint for Memory {
    fn load(
        &mut self,
        owner: &Owner,
        _observe: &mut dyn Observe,
    ) -> Result<Option<State>, training::Error> {
        let Some((found, state)) = &self.newest else { return Ok(None) };
        assert_eq!(found, owner, "the state is of the same stage");
        Ok(Some(state.clone()))
    }

    fn is_due(&mut self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn save(&mut self, owner: &Owner, state: State) -> Result<(), training::Error> {
        self.newest = Some((owner.clone(), state));
        Ok(())
    }
}
