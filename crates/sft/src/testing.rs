//! What the tests of several files share.

use crate::lesson::Lessons;
use crate::{Example, SftConfig, Source};
use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use std::path::Path;
use training::{Checkpoint, Error, Observe, OptimizerConfig, Overlong, Owner, Schedule, State};
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

/// The embedded model, of 2 million weights.
pub(crate) fn embedded() -> Decoder<B> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../model_organism/assistant");
    Decoder::from_folder(Path::new(folder), &FlexDevice).unwrap()
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

/// All parameters as one vector.
pub(crate) fn numbers(decoder: &Decoder<B>) -> Vec<f32> {
    let mut visitor = Numbers(Vec::new());
    decoder.visit(&mut visitor);
    visitor.0
}

struct Numbers(Vec<f32>);

impl ModuleVisitor<B> for Numbers {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.extend(param.val().into_data().to_vec::<f32>().unwrap());
    }
}

/// Examples and settings with which the loss on what is held out first falls and then rises: most of what follows the
/// prompts held out is what is learnt, but in the end it is the opposite.
pub(crate) fn contrary() -> (Vec<Example>, SftConfig) {
    let config = SftConfig {
        epochs: 10,
        tokens_per_step: 24,
        held_out: 0.3,
        evaluate_every: Some(1),
        patience: Some(2),
        optimizer: OptimizerConfig::default().with_learning_rate(1e-2),
        schedule: Schedule::constant(),
        ..SftConfig::default()
    };
    let row = |prompt: u32, end: u32| Example {
        tokens: vec![prompt, 0, 1, 1, 1, end],
        weights: vec![0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
    };
    let neutral: Vec<Example> = (0..12).map(|prompt| row(prompt, 1)).collect();
    let sources = [Source { name: "a", items: neutral.as_slice() }];
    let lessons = Lessons::of_examples(&model(12), &sources, Overlong::Drop, 1).unwrap();
    let (_, held_out) = lessons.split(config.held_out).unwrap();
    let end = |prompt: u32| if held_out.contains(&(prompt as usize)) { 8 } else { 2 };
    let prompts = (0..12).map(|prompt| row(prompt, end(prompt)));
    (prompts.collect(), config)
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) started: Option<(String, u64)>,
    pub(crate) done: u64,
    pub(crate) steps: Vec<u64>,
    pub(crate) metrics: Vec<Vec<(String, f64)>>,
    pub(crate) notes: Vec<String>,
    pub(crate) finished: bool,
    /// The process dies when it records this step, or when it ends if that is step 0.
    pub(crate) dies_at: Option<u64>,
}

impl Records {
    /// The values of one metric, step by step.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        let values = self.all(name);
        assert_eq!(values.len(), self.steps.len(), "every step records {name}");
        values
    }

    /// The values of one metric at the steps that record it.
    pub(crate) fn all(&self, name: &str) -> Vec<f64> {
        let of = |metrics: &Vec<(String, f64)>| {
            metrics.iter().find(|(found, _)| found == name).map(|&(_, value)| value)
        };
        self.metrics.iter().filter_map(of).collect()
    }

    /// Metrics add up to these numbers over all steps.
    #[track_caller]
    pub(crate) fn assert_totals(&self, expected: &[(&str, f64)]) {
        for &(name, expected) in expected {
            let found: f64 = self.values(name).iter().sum();
            assert!((found - expected).abs() < 1e-9, "{name}: {found} is not {expected}");
        }
    }

    /// The newest value of a metric.
    pub(crate) fn newest(&self, name: &str) -> f64 {
        *self.all(name).last().unwrap()
    }

    /// The steps that record a metric.
    pub(crate) fn steps_with(&self, name: &str) -> Vec<u64> {
        let has = |metrics: &Vec<(String, f64)>| metrics.iter().any(|(found, _)| found == name);
        let steps = self.steps.iter().zip(&self.metrics);
        steps.filter(|(_, metrics)| has(metrics)).map(|(&step, _)| step).collect()
    }

    fn dies() -> Error {
        Error::Write { path: "metrics".into(), source: std::io::ErrorKind::Interrupted.into() }
    }
}

impl Observe for Records {
    fn start(&mut self, stage: &str, steps: u64, done: u64) -> Result<(), Error> {
        self.started = Some((stage.to_owned(), steps));
        self.done = done;
        let kept = self.steps.iter().take_while(|&&step| step <= done).count();
        self.steps.truncate(kept);
        self.metrics.truncate(kept);
        Ok(())
    }

    fn record(&mut self, step: u64, metrics: &[(&str, f64)]) -> Result<(), Error> {
        if self.dies_at == Some(step) {
            return Err(Self::dies());
        }
        self.steps.push(step);
        self.metrics.push(metrics.iter().map(|&(name, value)| (name.to_owned(), value)).collect());
        Ok(())
    }

    fn note(&mut self, message: &str) {
        self.notes.push(message.to_owned());
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.dies_at == Some(0) {
            return Err(Self::dies());
        }
        self.finished = true;
        Ok(())
    }
}

/// Keeps the newest state in memory.
#[derive(Debug)]
pub(crate) struct Kept {
    every: u64,
    pub(crate) newest: Option<(Owner, State)>,
}

impl Kept {
    pub(crate) fn every(every: u64) -> Self {
        Self { every, newest: None }
    }
}

impl Checkpoint for Kept {
    fn load(&mut self, owner: &Owner, _observe: &mut dyn Observe) -> Result<Option<State>, Error> {
        match &self.newest {
            Some((of, _)) if of != owner => {
                let (found, expected) = (of.fingerprint.clone(), "states of this fitting");
                Err(Error::Setting { setting: "states", found, expected })
            }
            newest => Ok(newest.as_ref().map(|(_, state)| state.clone())),
        }
    }

    fn is_due(&mut self, step: u64) -> bool {
        step.is_multiple_of(self.every)
    }

    fn save(&mut self, owner: &Owner, state: State) -> Result<(), Error> {
        self.newest = Some((owner.clone(), state));
        Ok(())
    }
}
