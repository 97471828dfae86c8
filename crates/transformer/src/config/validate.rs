//! What a shape must be like for a model to exist.

use super::{Family, ModelConfig, Positions, RopeScaling};
use crate::Error;

/// What the files of a family call a setting.
fn written(family: Family, key: &str) -> &str {
    match (family, key) {
        (Family::Gpt2, "hidden_size") => "n_embd",
        (Family::Gpt2, "intermediate_size") => "n_inner",
        (Family::Gpt2, "num_hidden_layers") => "n_layer",
        (Family::Gpt2, "num_attention_heads") => "n_head",
        (Family::Gpt2, "max_position_embeddings") => "n_positions",
        (Family::Gpt2, "rms_norm_eps") => "layer_norm_epsilon",
        (Family::GptNeoX, "rms_norm_eps") => "layer_norm_eps",
        (_, key) => key,
    }
}

impl ModelConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] names the first setting out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.check("model configuration")
    }

    pub(super) fn check(&self, file: &str) -> Result<(), Error> {
        let wrong = |key: &str, found: &dyn ToString, expected: &str| {
            Err(Error::Config {
                file: file.to_owned(),
                key: written(self.family, key).to_owned(),
                found: found.to_string(),
                expected: expected.to_owned(),
            })
        };
        for (key, size) in self.sizes() {
            // Beyond this, products of two sizes no longer fit and no machine holds the model.
            if size == 0 || size > 1 << 30 {
                return wrong(key, &size, "a whole number from 1 to 2^30");
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let found = self.num_key_value_heads;
            return wrong("num_key_value_heads", &found, "a divisor of `num_attention_heads`");
        }
        if self.fuses_queries() && self.query_width() != self.hidden_size {
            let found = self.num_attention_heads;
            return wrong("num_attention_heads", &found, "a divisor of the width of the model");
        }
        if let Positions::Rotary(rope) = &self.positions
            && (rope.dimensions > self.head_dim || !rope.dimensions.is_multiple_of(2))
        {
            return wrong("head_dim", &self.head_dim, "an even number of dimensions that turn");
        }
        if let Some(window) = &self.sliding_window
            && (window.size == 0 || window.layers.len() != self.num_hidden_layers)
        {
            return wrong("sliding_window", &window.size, "a size above 0 and an entry a layer");
        }
        if self.parameters().is_none() {
            return wrong("hidden_size", &self.hidden_size, "a model that can exist");
        }
        for (key, number) in self.numbers() {
            if !(number.is_finite() && number > 0.0) {
                return wrong(key, &number, "a number above 0");
            }
        }
        if let Positions::Rotary(rope) = &self.positions
            && let RopeScaling::Llama3 { low_freq_factor, high_freq_factor, .. } = rope.scaling
            && low_freq_factor >= high_freq_factor
        {
            return wrong("low_freq_factor", &low_freq_factor, "less than `high_freq_factor`");
        }
        Ok(())
    }

    fn sizes(&self) -> [(&'static str, usize); 8] {
        [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ]
    }

    fn numbers(&self) -> Vec<(&'static str, f64)> {
        let mut numbers = vec![
            ("rms_norm_eps", self.norm_epsilon),
            ("initializer_range", self.initializer_range),
            ("query_pre_attn_scalar", self.query_scalar),
        ];
        let Positions::Rotary(rope) = &self.positions else { return numbers };
        numbers.push(("rope_theta", rope.theta));
        numbers.extend(rope.local_theta.map(|theta| ("rope_local_base_freq", theta)));
        match rope.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => numbers.push(("factor", factor)),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => numbers.extend([
                ("factor", factor),
                ("low_freq_factor", low_freq_factor),
                ("high_freq_factor", high_freq_factor),
                ("original_max_position_embeddings", original_max_position_embeddings as f64),
            ]),
        }
        numbers
    }

    /// The number of weights, a tied output projection counted once; nothing if it does not fit the machine's words.
    pub fn parameters(&self) -> Option<usize> {
        let Self { hidden_size: model, intermediate_size: inner, .. } = *self;
        let queries = self.num_attention_heads.checked_mul(self.head_dim)?;
        let keys = self.num_key_value_heads.checked_mul(self.head_dim)?;
        let projected = queries.checked_add(keys.checked_mul(2)?)?;
        let counted = |size: usize, counts: bool| if counts { size } else { 0 };
        let gate = if self.family.is_gated() { 3 } else { 2 };
        let constants = [
            counted(projected, self.query_bias),
            counted(model, self.attention_output_bias),
            counted(inner.checked_mul(gate - 1)?.checked_add(model)?, self.feed_forward_bias),
            counted(self.head_dim.checked_mul(2)?, self.norms_queries()),
        ];
        let norms = if self.norms_outputs() { 4 } else { 2 };
        let norm = model.checked_mul(if self.family.has_layer_norms() { 2 } else { 1 })?;
        let matrices = projected.checked_add(queries)?.checked_add(inner.checked_mul(gate)?)?;
        let mut layer = matrices.checked_mul(model)?.checked_add(norm.checked_mul(norms)?)?;
        for constant in constants {
            layer = layer.checked_add(constant)?;
        }
        let mut tables = self.vocab_size.checked_mul(if self.has_output() { 2 } else { 1 })?;
        if self.positions == Positions::Learned {
            tables = tables.checked_add(self.max_position_embeddings)?;
        }
        let ends = tables.checked_mul(model)?.checked_add(norm)?;
        let total = layer.checked_mul(self.num_hidden_layers)?.checked_add(ends)?;
        total.checked_mul(size_of::<f32>()).map(|_| total)
    }
}
