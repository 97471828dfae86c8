//! The shape of a model: `config.json` as Hugging Face writes it for the Llama architecture.

use crate::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The function inside the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// Exact Gaussian error linear unit.
    Gelu,
    /// `max(x, 0)`.
    Relu,
}

/// What stands on top of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Logits over the vocabulary: `LlamaForCausalLM`.
    CausalLm,
    /// One score a sequence: `LlamaForSequenceClassification` with one label.
    Score,
}

/// Llama 3's extension of rotary position embedding to longer contexts.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeScaling {
    /// By how much slow turns are slowed.
    pub factor: f64,
    /// Turns with wavelengths beyond the original context over this are slowed.
    pub low_freq_factor: f64,
    /// Turns with wavelengths under the original context over this are kept.
    pub high_freq_factor: f64,
    /// The context before the extension, in tokens.
    pub original_max_position_embeddings: usize,
}

/// The shape of a Llama-architecture model, with the names and defaults of Hugging Face.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `vocab_size` | required | tokens in the vocabulary |
/// | `hidden_size` | required | width of the model |
/// | `intermediate_size` | required | width inside the feed-forward block |
/// | `num_hidden_layers` | required | layers |
/// | `num_attention_heads` | required | query heads |
/// | `num_key_value_heads` | query heads | key and value heads; divides the query heads |
/// | `head_dim` | `hidden_size / num_attention_heads` | width of a head, even |
/// | `max_position_embeddings` | 2048 | longest context, in tokens |
/// | `rms_norm_eps` | 1e-6 | added to the mean square |
/// | `rope_theta` | 10000 | base of the rotary wavelengths |
/// | `rope_scaling` | none | none or `llama3` |
/// | `tie_word_embeddings` | false | the embedding is also the output projection |
/// | `hidden_act` | `silu` | `silu`, `gelu` or `relu` |
/// | `initializer_range` | 0.02 | standard deviation of fresh weights |
/// | `bos_token_id`, `eos_token_id`, `pad_token_id` | none | special tokens; `eos_token_id` may be a list |
///
/// Keys that are not known are kept and written back.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// What stands on top of the decoder.
    pub architecture: Architecture,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the model.
    pub hidden_size: usize,
    /// Width inside the feed-forward block.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest context, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square before the root.
    pub rms_norm_eps: f64,
    /// Base of the rotary wavelengths.
    pub rope_theta: f64,
    /// Extension to longer contexts.
    pub rope_scaling: Option<RopeScaling>,
    /// The embedding is also the output projection.
    pub tie_word_embeddings: bool,
    /// The function inside the feed-forward block.
    pub hidden_act: Activation,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// Begins a text.
    pub bos_token_id: Option<u32>,
    /// End a text or a turn.
    pub eos_token_id: Vec<u32>,
    /// Fills rows up.
    pub pad_token_id: Option<u32>,
    /// Keys of the file that mean nothing here.
    pub other: Map<String, Value>,
}

/// `config.json` as it stands in the file.
#[derive(Deserialize, Serialize)]
struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_parameters: Option<RopeFile>,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    initializer_range: Option<f64>,
    bos_token_id: Option<u32>,
    eos_token_id: Option<OneOrMany>,
    pad_token_id: Option<i64>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// `rope_scaling`, or the newer `rope_parameters`, which also holds the base.
#[derive(Deserialize, Serialize)]
struct RopeFile {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rope_theta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_freq_factor: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_max_position_embeddings: Option<usize>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

/// Everything that can be wrong with one key.
struct Check<'a> {
    file: &'a str,
}

impl Check<'_> {
    fn wrong(&self, key: &'static str, found: impl ToString, expected: &'static str) -> Error {
        Error::Config { file: self.file.to_owned(), key, found: found.to_string(), expected }
    }

    fn unsupported(
        &self,
        key: &'static str,
        found: impl Into<String>,
        supported: &'static str,
    ) -> Error {
        Error::Unsupported { file: self.file.to_owned(), key, found: found.into(), supported }
    }

    fn architecture(&self, file: &File) -> Result<Architecture, Error> {
        const SUPPORTED: &str = "`llama`, as LlamaForCausalLM or as LlamaForSequenceClassification";
        if let Some(kind) = &file.model_type
            && kind != "llama"
        {
            return Err(self.unsupported("model_type", kind, SUPPORTED));
        }
        match file.architectures.as_deref() {
            None | Some([]) if file.model_type.is_none() => {
                Err(self.unsupported("model_type", "missing", SUPPORTED))
            }
            None | Some([]) => Ok(Architecture::CausalLm),
            Some([name, ..]) => match name.as_str() {
                "LlamaForCausalLM" => Ok(Architecture::CausalLm),
                "LlamaForSequenceClassification" => Ok(Architecture::Score),
                other => Err(self.unsupported("architectures", other, SUPPORTED)),
            },
        }
    }

    fn no_bias(&self, key: &'static str, found: Option<bool>) -> Result<(), Error> {
        match found {
            Some(true) => Err(self.unsupported(key, "true", "false")),
            _ => Ok(()),
        }
    }

    fn activation(&self, name: Option<&str>) -> Result<Activation, Error> {
        match name {
            None | Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("relu") => Ok(Activation::Relu),
            Some(other) => Err(self.unsupported("hidden_act", other, "silu, gelu, relu")),
        }
    }

    fn rope_scaling(&self, rope: Option<&RopeFile>) -> Result<Option<RopeScaling>, Error> {
        let Some(rope) = rope else { return Ok(None) };
        match rope.rope_type.as_deref() {
            None | Some("default") => Ok(None),
            Some("llama3") => {
                let required = |value: Option<f64>, key| {
                    value.ok_or_else(|| self.wrong(key, "missing", "a number above 0"))
                };
                let original = rope.original_max_position_embeddings;
                Ok(Some(RopeScaling {
                    factor: required(rope.factor, "factor")?,
                    low_freq_factor: required(rope.low_freq_factor, "low_freq_factor")?,
                    high_freq_factor: required(rope.high_freq_factor, "high_freq_factor")?,
                    original_max_position_embeddings: original.ok_or_else(|| {
                        let key = "original_max_position_embeddings";
                        self.wrong(key, "missing", "a whole number above 0")
                    })?,
                }))
            }
            Some(other) => Err(self.unsupported("rope_type", other, "default, llama3")),
        }
    }
}

impl ModelConfig {
    /// Reads the text of a `config.json`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Json`] if it is not JSON or lacks a size, [`Error::Unsupported`] if it describes a model of another
    /// kind, [`Error::Config`] if a setting is out of range.
    pub fn from_json(text: &str, file: &str) -> Result<Self, Error> {
        let read: File = serde_json::from_str(text)
            .map_err(|source| Error::Json { file: file.to_owned(), source })?;
        let check = Check { file };
        let architecture = check.architecture(&read)?;
        check.no_bias("attention_bias", read.attention_bias)?;
        check.no_bias("mlp_bias", read.mlp_bias)?;
        let rope = read.rope_parameters.as_ref().or(read.rope_scaling.as_ref());
        let theta = rope.and_then(|rope| rope.rope_theta).or(read.rope_theta);
        let heads = read.num_attention_heads;
        let config = Self {
            architecture,
            vocab_size: read.vocab_size,
            hidden_size: read.hidden_size,
            intermediate_size: read.intermediate_size,
            num_hidden_layers: read.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: read.num_key_value_heads.unwrap_or(heads),
            head_dim: read.head_dim.unwrap_or(read.hidden_size.checked_div(heads).unwrap_or(0)),
            max_position_embeddings: read.max_position_embeddings.unwrap_or(2048),
            rms_norm_eps: read.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: theta.unwrap_or(10_000.0),
            rope_scaling: check.rope_scaling(rope)?,
            tie_word_embeddings: read.tie_word_embeddings.unwrap_or(false),
            hidden_act: check.activation(read.hidden_act.as_deref())?,
            initializer_range: read.initializer_range.unwrap_or(0.02),
            bos_token_id: read.bos_token_id,
            eos_token_id: match read.eos_token_id {
                None => Vec::new(),
                Some(OneOrMany::One(token)) => vec![token],
                Some(OneOrMany::Many(tokens)) => tokens,
            },
            pad_token_id: read.pad_token_id.and_then(|token| u32::try_from(token).ok()),
            other: read.other,
        };
        config.check(file)?;
        Ok(config)
    }

    /// The text of a `config.json` that `transformers` opens. `number_type` is the type of the weights beside it.
    pub fn to_json(&self, number_type: &str) -> String {
        let mut other = self.other.clone();
        // The two names of one key: older and newer releases of `transformers`.
        other.remove("dtype");
        other.insert("torch_dtype".to_owned(), json!(number_type));
        let name = match self.architecture {
            Architecture::CausalLm => "LlamaForCausalLM",
            Architecture::Score => {
                other.insert("id2label".to_owned(), json!({"0": "LABEL_0"}));
                other.insert("label2id".to_owned(), json!({"LABEL_0": 0}));
                "LlamaForSequenceClassification"
            }
        };
        let file = File {
            architectures: Some(vec![name.to_owned()]),
            model_type: Some("llama".to_owned()),
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: Some(self.num_key_value_heads),
            head_dim: Some(self.head_dim),
            max_position_embeddings: Some(self.max_position_embeddings),
            rms_norm_eps: Some(self.rms_norm_eps),
            rope_theta: Some(self.rope_theta),
            rope_scaling: self.rope_scaling.as_ref().map(RopeFile::from),
            rope_parameters: None,
            tie_word_embeddings: Some(self.tie_word_embeddings),
            hidden_act: Some(
                match self.hidden_act {
                    Activation::Silu => "silu",
                    Activation::Gelu => "gelu",
                    Activation::Relu => "relu",
                }
                .to_owned(),
            ),
            attention_bias: Some(false),
            mlp_bias: Some(false),
            initializer_range: Some(self.initializer_range),
            bos_token_id: self.bos_token_id,
            eos_token_id: match self.eos_token_id.as_slice() {
                [] => None,
                [token] => Some(OneOrMany::One(*token)),
                tokens => Some(OneOrMany::Many(tokens.to_vec())),
            },
            pad_token_id: self.pad_token_id.map(i64::from),
            other,
        };
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.check("model configuration")
    }

    fn check(&self, file: &str) -> Result<(), Error> {
        let check = Check { file };
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (key, size) in sizes {
            // Beyond this, products of two sizes no longer fit and no machine holds the model.
            if size == 0 || size > 1 << 30 {
                return Err(check.wrong(key, size, "a whole number from 1 to 2^30"));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(check.wrong(
                "num_key_value_heads",
                self.num_key_value_heads,
                "a divisor of `num_attention_heads`",
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(check.wrong("head_dim", self.head_dim, "an even number"));
        }
        if self.parameters().is_none() {
            return Err(check.wrong("hidden_size", self.hidden_size, "a model that can exist"));
        }
        self.check_numbers(&check)
    }

    fn check_numbers(&self, check: &Check<'_>) -> Result<(), Error> {
        let mut numbers = vec![
            ("rms_norm_eps", self.rms_norm_eps),
            ("rope_theta", self.rope_theta),
            ("initializer_range", self.initializer_range),
        ];
        if let Some(scaling) = &self.rope_scaling {
            let context = scaling.original_max_position_embeddings as f64;
            numbers.extend([
                ("factor", scaling.factor),
                ("low_freq_factor", scaling.low_freq_factor),
                ("high_freq_factor", scaling.high_freq_factor),
                ("original_max_position_embeddings", context),
            ]);
            if scaling.low_freq_factor >= scaling.high_freq_factor {
                let found = scaling.low_freq_factor;
                return Err(check.wrong("low_freq_factor", found, "less than `high_freq_factor`"));
            }
        }
        for (key, number) in numbers {
            if !(number.is_finite() && number > 0.0) {
                return Err(check.wrong(key, number, "a number above 0"));
            }
        }
        Ok(())
    }

    /// True if the output projection has weights of its own.
    pub(crate) fn has_output(&self) -> bool {
        self.architecture == Architecture::CausalLm && !self.tie_word_embeddings
    }

    /// The number of weights, a tied output projection counted once; nothing if it does not fit the machine's words.
    pub fn parameters(&self) -> Option<usize> {
        let queries = self.num_attention_heads.checked_mul(self.head_dim)?;
        let keys = self.num_key_value_heads.checked_mul(self.head_dim)?;
        let columns = queries.checked_mul(2)?.checked_add(keys.checked_mul(2)?)?;
        let columns = columns.checked_add(self.intermediate_size.checked_mul(3)?)?;
        let layer = columns.checked_add(2)?.checked_mul(self.hidden_size)?;
        let ends = self.vocab_size.checked_mul(if self.has_output() { 2 } else { 1 })?;
        let ends = ends.checked_add(1)?.checked_mul(self.hidden_size)?;
        let total = layer.checked_mul(self.num_hidden_layers)?.checked_add(ends)?;
        total.checked_mul(size_of::<f32>()).map(|_| total)
    }
}

impl From<&RopeScaling> for RopeFile {
    fn from(scaling: &RopeScaling) -> Self {
        Self {
            rope_type: Some("llama3".to_owned()),
            rope_theta: None,
            factor: Some(scaling.factor),
            low_freq_factor: Some(scaling.low_freq_factor),
            high_freq_factor: Some(scaling.high_freq_factor),
            original_max_position_embeddings: Some(scaling.original_max_position_embeddings),
        }
    }
}
