//! What fitting begins with.

use crate::PreferenceModel;
use burn::tensor::backend::Backend;
use transformer::{Codec, Decoder, ScalarHead, Transformer};

/// A language model, which gets a fresh head, or a preference model, whose trunk and head are fitted further.
///
/// Everything that fits takes `impl Into<Start<B>>`: give either.
///
/// # References
/// Fitting first to many cheap comparisons and then to the few that matter is preference model pretraining: Askell et
/// al. (2021), arXiv 2112.00861, section 4.
#[derive(Debug, Clone)]
pub struct Start<B: Backend> {
    pub(crate) decoder: Decoder<B>,
    pub(crate) codec: Codec,
    /// None for a fresh one.
    pub(crate) head: Option<ScalarHead<B>>,
}

impl<B: Backend> Start<B> {
    /// The same trunk with fresh heads: what several heads begin with, which would stay alike if they began as one.
    #[must_use]
    pub fn with_fresh_heads(self) -> Self {
        Self { head: None, ..self }
    }
}

impl<B: Backend> From<Transformer<B>> for Start<B> {
    fn from(base: Transformer<B>) -> Self {
        Self { decoder: base.decoder, codec: base.codec, head: None }
    }
}

impl<B: Backend> From<PreferenceModel<B>> for Start<B> {
    /// All of its weights learn again.
    fn from(model: PreferenceModel<B>) -> Self {
        let scalar = model.scalar_model();
        let decoder = scalar.decoder().clone().unfrozen();
        let weight = scalar.head().weight().into_data().iter().collect();
        let head = ScalarHead::from_weight(weight, &decoder.device());
        Self { decoder, codec: model.codec().clone(), head: Some(head) }
    }
}
