//! `config.json` to [`ModelConfig`] and back, family by family.

use super::keys::Keys;
use super::{
    Activation, Architecture, Family, ModelConfig, Positions, Rope, RopeScaling, SlidingWindow,
};
use crate::Error;
use serde_json::{Map, Value, json};

/// Layers beyond this are no model but a mistake: lists of one entry a layer stay small.
const MOST_LAYERS: usize = 1 << 14;

impl ModelConfig {
    /// Reads the text of a `config.json`; `file` names it in errors.
    ///
    /// # Errors
    /// [`Error::Json`] if it is not a JSON object, [`Error::Unsupported`] if it describes a model of another kind,
    /// [`Error::Config`] if a setting is missing, of the wrong type or out of range.
    pub fn from_json(text: &str, file: &str) -> Result<Self, Error> {
        let values: Map<String, Value> = serde_json::from_str(text)
            .map_err(|source| Error::Json { file: file.to_owned(), source })?;
        let mut keys = Keys::new(values, file);
        let (family, architecture) = kind(&mut keys)?;
        if let Some(quantised) = keys.value("quantization_config") {
            let supported = "weights of 32 or 16 bits, without this key";
            return Err(keys.unsupported("quantization_config", quantised, supported));
        }
        let read = match family {
            Family::Gpt2 => gpt2(&mut keys, architecture)?,
            Family::GptNeoX => gpt_neox(&mut keys, architecture)?,
            family => llama(&mut keys, family, architecture)?,
        };
        let config = Self { other: keys.into_rest(), ..read };
        config.check(file)?;
        Ok(config)
    }

    /// The text of a `config.json` that `transformers` opens. `number_type` is the type of the weights beside it.
    pub fn to_json(&self, number_type: &str) -> String {
        let mut file = Map::new();
        let class = self.family.class(self.architecture);
        file.insert("architectures".to_owned(), json!([class]));
        file.insert("model_type".to_owned(), json!(self.family.model_type()));
        let sizes = match self.family {
            Family::Gpt2 => self.gpt2_file(),
            Family::GptNeoX => self.gpt_neox_file(),
            _ => self.llama_file(),
        };
        if let Value::Object(sizes) = sizes {
            file.extend(sizes);
        }
        let eos = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [token] => json!(token),
            tokens => json!(tokens),
        };
        file.insert("bos_token_id".to_owned(), json!(self.bos_token_id));
        file.insert("eos_token_id".to_owned(), eos);
        file.insert("pad_token_id".to_owned(), json!(self.pad_token_id));
        file.insert("torch_dtype".to_owned(), json!(number_type));
        if self.architecture == Architecture::Score {
            file.insert("id2label".to_owned(), json!({"0": "LABEL_0"}));
            file.insert("label2id".to_owned(), json!({"LABEL_0": 0}));
        }
        // `dtype` is the name of the type in newer releases of `transformers`, which read the older one too.
        for (key, value) in self.other.iter().filter(|(key, _)| *key != "dtype") {
            file.entry(key.as_str()).or_insert_with(|| value.clone());
        }
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }

    fn llama_file(&self) -> Value {
        let mut file = json!({
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.norm_epsilon,
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": self.initializer_range,
        });
        file["hidden_act"] = json!(self.hidden_act.name());
        if let Positions::Rotary(rope) = &self.positions {
            file["rope_theta"] = json!(rope.theta);
            file["rope_scaling"] = rope.scaling.to_json();
            if let Some(theta) = rope.local_theta {
                file["rope_local_base_freq"] = json!(theta);
            }
        }
        match self.family {
            Family::Llama => {
                file["attention_bias"] = json!(self.query_bias);
                file["mlp_bias"] = json!(self.feed_forward_bias);
            }
            Family::Mistral => {
                let size = self.sliding_window.as_ref().map(|window| window.size);
                file["sliding_window"] = json!(size);
            }
            Family::Qwen2 | Family::Qwen3 => {
                file["use_sliding_window"] = json!(self.sliding_window.is_some());
                if let Some(window) = &self.sliding_window {
                    file["sliding_window"] = json!(window.size);
                    let first = window.layers.iter().position(|&windowed| windowed);
                    file["max_window_layers"] = json!(first.unwrap_or(window.layers.len()));
                    file["layer_types"] = self.layer_types();
                }
                if self.family == Family::Qwen3 {
                    file["attention_bias"] = json!(self.query_bias);
                }
            }
            Family::Gemma3 => {
                if let Value::Object(file) = &mut file {
                    file.remove("hidden_act");
                }
                file["hidden_activation"] = json!(self.hidden_act.name());
                file["query_pre_attn_scalar"] = number(self.query_scalar);
                file["attention_bias"] = json!(self.query_bias);
                if let Some(window) = &self.sliding_window {
                    file["sliding_window"] = json!(window.size);
                    file["layer_types"] = self.layer_types();
                }
            }
            Family::Gpt2 | Family::GptNeoX => {}
        }
        file
    }

    fn layer_types(&self) -> Value {
        let name = |layer| {
            if self.is_windowed(layer) { "sliding_attention" } else { "full_attention" }
        };
        (0..self.num_hidden_layers).map(name).collect()
    }

    fn gpt2_file(&self) -> Value {
        json!({
            "vocab_size": self.vocab_size,
            "n_embd": self.hidden_size,
            "n_inner": self.intermediate_size,
            "n_layer": self.num_hidden_layers,
            "n_head": self.num_attention_heads,
            "n_positions": self.max_position_embeddings,
            "layer_norm_epsilon": self.norm_epsilon,
            "activation_function": self.hidden_act.name(),
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": self.initializer_range,
        })
    }

    fn gpt_neox_file(&self) -> Value {
        let mut file = json!({
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "max_position_embeddings": self.max_position_embeddings,
            "layer_norm_eps": self.norm_epsilon,
            "hidden_act": self.hidden_act.name(),
            "use_parallel_residual": self.parallel_residual,
            "attention_bias": self.query_bias,
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": self.initializer_range,
        });
        if let Positions::Rotary(rope) = &self.positions {
            file["rotary_pct"] = json!(part(rope.dimensions, self.head_dim));
            file["rotary_emb_base"] = number(rope.theta);
            file["rope_theta"] = json!(rope.theta);
            file["rope_scaling"] = rope.scaling.to_json();
        }
        file
    }
}

/// The part of a head that so many dimensions are. Readers cut the fraction off their product with the width, which rounding
/// may have left just below the number meant.
fn part(dimensions: usize, head_dim: usize) -> f64 {
    let width = head_dim as f64;
    let part = dimensions as f64 / width;
    if part * width < dimensions as f64 { (dimensions as f64 + 0.5) / width } else { part }
}

/// Whole numbers without a fraction, as the reference writes them.
#[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
fn number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}

/// The family and what stands on top, from `model_type` and `architectures`.
fn kind(keys: &mut Keys<'_>) -> Result<(Family, Architecture), Error> {
    let classes = keys.texts("architectures")?.unwrap_or_default();
    let model_type = keys.text("model_type")?;
    let both = [Architecture::CausalLm, Architecture::Score];
    if let Some(class) = classes.first() {
        let named = Family::ALL.into_iter().find_map(|family| {
            let top = both.into_iter().find(|&top| family.class(top) == class)?;
            Some((family, top))
        });
        let Some((family, architecture)) = named else {
            let classes = Family::ALL.map(|family| both.map(|top| family.class(top)).join(", "));
            return Err(keys.unsupported("architectures", class, classes.join(", ")));
        };
        if let Some(model_type) = model_type
            && model_type != family.model_type()
        {
            let expected = format!("`{}`, to which {class} belongs", family.model_type());
            return Err(keys.wrong("model_type", model_type, expected));
        }
        return Ok((family, architecture));
    }
    let model_type = model_type.unwrap_or_else(|| "missing".to_owned());
    if let Some(family) = Family::ALL.into_iter().find(|family| family.model_type() == model_type) {
        return Ok((family, Architecture::CausalLm));
    }
    let supported = Family::ALL.map(Family::model_type).join(", ");
    Err(keys.unsupported("model_type", model_type, supported))
}

/// The keys that Llama and its descendants share.
fn llama(
    keys: &mut Keys<'_>,
    family: Family,
    architecture: Architecture,
) -> Result<ModelConfig, Error> {
    let heads = keys.required("num_attention_heads")?;
    let hidden_size = keys.required("hidden_size")?;
    let layers = keys.required("num_hidden_layers")?;
    let gemma = family == Family::Gemma3;
    let head_dim = keys.size("head_dim")?.unwrap_or(match family {
        Family::Qwen3 => 128,
        Family::Gemma3 => 256,
        _ => hidden_size.checked_div(heads).unwrap_or(0),
    });
    if gemma {
        refuse_gemma_variants(keys)?;
    }
    let attention_bias = match family {
        Family::Mistral | Family::Qwen2 => false,
        _ => keys.flag("attention_bias")?.unwrap_or(false),
    };
    let query_scalar =
        if gemma { keys.number("query_pre_attn_scalar")?.or(Some(256.0)) } else { None };
    let activation = if gemma { "hidden_activation" } else { "hidden_act" };
    let default = if gemma { Activation::GeluTanh } else { Activation::Silu };
    Ok(ModelConfig {
        family,
        architecture,
        vocab_size: keys.required("vocab_size")?,
        hidden_size,
        intermediate_size: keys.required("intermediate_size")?,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: keys.size("num_key_value_heads")?.unwrap_or(heads),
        head_dim,
        max_position_embeddings: keys.size("max_position_embeddings")?.unwrap_or(2048),
        norm_epsilon: keys.number("rms_norm_eps")?.unwrap_or(1e-6),
        positions: Positions::Rotary(rope(keys, family, head_dim, None)?),
        sliding_window: sliding_window(keys, family, layers)?,
        query_scalar: query_scalar.unwrap_or(head_dim as f64),
        query_bias: attention_bias || family == Family::Qwen2,
        attention_output_bias: attention_bias,
        feed_forward_bias: family == Family::Llama && keys.flag("mlp_bias")?.unwrap_or(false),
        parallel_residual: false,
        tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(gemma),
        hidden_act: keys.activation(activation, default)?,
        initializer_range: keys.number("initializer_range")?.unwrap_or(0.02),
        bos_token_id: keys.token("bos_token_id")?,
        eos_token_id: keys.tokens("eos_token_id")?,
        pad_token_id: keys.token("pad_token_id")?,
        other: Map::new(),
    })
}

/// Settings of Gemma 3 that published text models leave alone, and that would change what is computed.
fn refuse_gemma_variants(keys: &mut Keys<'_>) -> Result<(), Error> {
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        if let Some(cap) = keys.number(key)? {
            return Err(keys.unsupported(key, cap, "null"));
        }
    }
    match keys.flag("use_bidirectional_attention")? {
        Some(true) => Err(keys.unsupported("use_bidirectional_attention", true, "false")),
        _ => Ok(()),
    }
}

fn sliding_window(
    keys: &mut Keys<'_>,
    family: Family,
    layers: usize,
) -> Result<Option<SlidingWindow>, Error> {
    if layers > MOST_LAYERS {
        return Err(keys.wrong("num_hidden_layers", layers, format!("at most {MOST_LAYERS}")));
    }
    let types = match family {
        Family::Qwen2 | Family::Qwen3 | Family::Gemma3 => layer_types(keys, layers)?,
        _ => None,
    };
    let (default, windowed) = match family {
        // Null says that there is none, a missing key that it is the default.
        Family::Mistral if !keys.has("sliding_window") => (Some(4096), vec![true; layers]),
        Family::Mistral => (None, vec![true; layers]),
        Family::Qwen2 | Family::Qwen3 => {
            let used = keys.flag("use_sliding_window")?.unwrap_or(false);
            let first = keys.size("max_window_layers")?.unwrap_or(28);
            if !used {
                // The size is kept in the file all the same, and is no setting without its use.
                keys.value("sliding_window");
                return Ok(None);
            }
            let later = (0..layers).map(|layer| layer >= first).collect();
            (Some(4096), types.unwrap_or(later))
        }
        Family::Gemma3 => {
            let period = keys
                .size("sliding_window_pattern")?
                .or(keys.size("_sliding_window_pattern")?)
                .unwrap_or(6)
                .max(1);
            let local = (0..layers).map(|layer| !(layer + 1).is_multiple_of(period)).collect();
            (Some(4096), types.unwrap_or(local))
        }
        Family::Llama | Family::Gpt2 | Family::GptNeoX => return Ok(None),
    };
    match keys.size("sliding_window")?.or(default) {
        Some(0) => Err(keys.wrong("sliding_window", 0, "a whole number above 0")),
        Some(size) => Ok(Some(SlidingWindow { size, layers: windowed })),
        None => Ok(None),
    }
}

fn layer_types(keys: &mut Keys<'_>, layers: usize) -> Result<Option<Vec<bool>>, Error> {
    let Some(types) = keys.texts("layer_types")? else { return Ok(None) };
    if types.len() != layers {
        let found = format!("a list of {}", types.len());
        return Err(keys.wrong(
            "layer_types",
            found,
            format!("one entry for each of {layers} layers"),
        ));
    }
    let windowed = types.iter().map(|name| match name.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        other => Err(keys.unsupported("layer_types", other, "full_attention, sliding_attention")),
    });
    windowed.collect::<Result<_, _>>().map(Some)
}

/// `rope_theta` and `rope_scaling`, or the newer `rope_parameters` that holds both, by kind of layer if they differ, and
/// the part of a head that turns; `part` is that part by older keys.
fn rope(
    keys: &mut Keys<'_>,
    family: Family,
    head_dim: usize,
    part: Option<f64>,
) -> Result<Rope, Error> {
    let gemma = family == Family::Gemma3;
    let mut theta = keys.number("rope_theta")?;
    let mut local_theta = keys.number("rope_local_base_freq")?;
    let mut parameters = keys.object("rope_scaling")?;
    let mut part = keys.number("partial_rotary_factor")?.or(part);
    if let Some(mut newer) = keys.object("rope_parameters")? {
        if let Some(mut local) = newer.object("sliding_attention")? {
            local_theta = local.number("rope_theta")?.or(local_theta);
        }
        let mut newer = newer.object("full_attention")?.unwrap_or(newer);
        theta = newer.number("rope_theta")?.or(theta);
        parameters = Some(newer);
    }
    let scaling = match parameters {
        Some(mut parameters) => {
            theta = parameters.number("rope_theta")?.or(theta);
            part = parameters.number("partial_rotary_factor")?.or(part);
            rope_scaling(&mut parameters)?
        }
        None => RopeScaling::None,
    };
    Ok(Rope {
        theta: theta.unwrap_or(if gemma { 1e6 } else { 1e4 }),
        scaling,
        dimensions: turned(keys, family, head_dim, part.unwrap_or(1.0))?,
        local_theta: gemma.then(|| local_theta.unwrap_or(1e4)),
    })
}

/// Dimensions of a head that turn.
fn turned(keys: &Keys<'_>, family: Family, head_dim: usize, part: f64) -> Result<usize, Error> {
    if !(0.0..=1.0).contains(&part) {
        return Err(keys.wrong("partial_rotary_factor", part, "a number from 0 to 1"));
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of the width of a head; the fraction is cut off as in the reference"
    )]
    let dimensions = (head_dim as f64 * part) as usize;
    if dimensions != head_dim && family != Family::GptNeoX {
        return Err(keys.unsupported("partial_rotary_factor", part, "1"));
    }
    Ok(dimensions)
}

fn rope_scaling(keys: &mut Keys<'_>) -> Result<RopeScaling, Error> {
    let kind = match keys.text("rope_type")? {
        Some(kind) => Some(kind),
        None => keys.text("type")?,
    };
    let required = |keys: &mut Keys<'_>, key: &str| {
        keys.number(key)?.ok_or_else(|| keys.wrong(key, "missing", "a number above 0"))
    };
    match kind.as_deref() {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear { factor: required(keys, "factor")? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: required(keys, "factor")?,
            low_freq_factor: required(keys, "low_freq_factor")?,
            high_freq_factor: required(keys, "high_freq_factor")?,
            original_max_position_embeddings: keys.required("original_max_position_embeddings")?,
        }),
        Some(other) => Err(keys.unsupported("rope_type", other, "default, linear, llama3")),
    }
}

fn gpt2(keys: &mut Keys<'_>, architecture: Architecture) -> Result<ModelConfig, Error> {
    for (key, only) in [
        ("scale_attn_weights", true),
        ("scale_attn_by_inverse_layer_idx", false),
        ("add_cross_attention", false),
    ] {
        if keys.flag(key)?.is_some_and(|found| found != only) {
            return Err(keys.unsupported(key, !only, only.to_string()));
        }
    }
    let hidden_size = keys.required("n_embd")?;
    let heads = keys.required("n_head")?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or(0);
    Ok(ModelConfig {
        family: Family::Gpt2,
        architecture,
        vocab_size: keys.required("vocab_size")?,
        hidden_size,
        intermediate_size: keys.size("n_inner")?.unwrap_or(hidden_size.saturating_mul(4)),
        num_hidden_layers: keys.required("n_layer")?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim,
        max_position_embeddings: keys.size("n_positions")?.unwrap_or(1024),
        norm_epsilon: keys.number("layer_norm_epsilon")?.unwrap_or(1e-5),
        positions: Positions::Learned,
        sliding_window: None,
        query_scalar: head_dim as f64,
        query_bias: true,
        attention_output_bias: true,
        feed_forward_bias: true,
        parallel_residual: false,
        tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(true),
        hidden_act: keys.activation("activation_function", Activation::GeluTanh)?,
        initializer_range: keys.number("initializer_range")?.unwrap_or(0.02),
        bos_token_id: keys.token("bos_token_id")?,
        eos_token_id: keys.tokens("eos_token_id")?,
        pad_token_id: keys.token("pad_token_id")?,
        other: Map::new(),
    })
}

fn gpt_neox(keys: &mut Keys<'_>, architecture: Architecture) -> Result<ModelConfig, Error> {
    let hidden_size = keys.required("hidden_size")?;
    let heads = keys.required("num_attention_heads")?;
    let head_dim = hidden_size.checked_div(heads).unwrap_or(0);
    let bias = keys.flag("attention_bias")?.unwrap_or(true);
    let part = keys.number("rotary_pct")?;
    let newer = keys.has("rope_theta") || keys.has("rope_parameters");
    let base = keys.number("rotary_emb_base")?;
    let mut rope = rope(keys, Family::GptNeoX, head_dim, part.or(Some(0.25)))?;
    if let (Some(base), false) = (base, newer) {
        rope.theta = base;
    }
    Ok(ModelConfig {
        family: Family::GptNeoX,
        architecture,
        vocab_size: keys.required("vocab_size")?,
        hidden_size,
        intermediate_size: keys.required("intermediate_size")?,
        num_hidden_layers: keys.required("num_hidden_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim,
        max_position_embeddings: keys.size("max_position_embeddings")?.unwrap_or(2048),
        norm_epsilon: keys.number("layer_norm_eps")?.unwrap_or(1e-5),
        positions: Positions::Rotary(rope),
        sliding_window: None,
        query_scalar: head_dim as f64,
        query_bias: bias,
        attention_output_bias: bias,
        feed_forward_bias: true,
        parallel_residual: keys.flag("use_parallel_residual")?.unwrap_or(true),
        tie_word_embeddings: keys.flag("tie_word_embeddings")?.unwrap_or(false),
        hidden_act: keys.activation("hidden_act", Activation::Gelu)?,
        initializer_range: keys.number("initializer_range")?.unwrap_or(0.02),
        bos_token_id: keys.token("bos_token_id")?,
        eos_token_id: keys.tokens("eos_token_id")?,
        pad_token_id: keys.token("pad_token_id")?,
        other: Map::new(),
    })
}

impl Keys<'_> {
    fn activation(&mut self, key: &str, default: Activation) -> Result<Activation, Error> {
        match self.text(key)?.as_deref() {
            None => Ok(default),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
            Some("relu") => Ok(Activation::Relu),
            Some(other) => {
                Err(self.unsupported(key, other, "silu, gelu, gelu_new, gelu_pytorch_tanh, relu"))
            }
        }
    }
}

impl Activation {
    fn name(self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Relu => "relu",
        }
    }
}

impl RopeScaling {
    fn to_json(self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as readers do it")]
    fn a_part_of_a_head_survives_the_file() {
        assert!((part(16, 64) - 0.25).abs() < 1e-15);
        for head_dim in 1..300 {
            for dimensions in 0..=head_dim {
                let read = (head_dim as f64 * part(dimensions, head_dim)) as usize;
                assert_eq!(read, dimensions, "{dimensions} of {head_dim}");
            }
        }
    }
}
