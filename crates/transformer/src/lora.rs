//! Low-rank adapters (`LoRA`, arXiv 2106.09685) on the linear maps of a decoder.

use crate::Error;
use crate::assemble::Part;
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::linear::Adapter;
use crate::names::name;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use language_model::stream;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Lets weights learn.
struct Thaw;

impl<B: Backend> ModuleMapper<B> for Thaw {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.set_require_grad(true)
    }
}

/// Which linear maps are corrected, and by how much freedom.
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `rank` | 8 | numbers that every correction passes through |
/// | `alpha` | 16 | corrections are multiplied by `alpha / rank` |
/// | `target_modules` | `q_proj`, `v_proj` | ends of the names of the maps, as in PEFT, or `all-linear` |
/// | `rank_stabilised` | false | divides by the root of the rank instead (arXiv 2312.03732) |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Numbers that every correction passes through.
    pub rank: usize,
    /// Corrections are multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Ends of the names of the maps that are corrected, or `all-linear`.
    pub target_modules: Vec<String>,
    /// Divides by the root of the rank instead.
    pub rank_stabilised: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        let target_modules = ["q_proj", "v_proj"].map(str::to_owned).to_vec();
        Self { rank: 8, alpha: 16.0, target_modules, rank_stabilised: false }
    }
}

impl LoraConfig {
    /// What corrections are multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// Checks every setting, for a model of this shape.
    ///
    /// # Errors
    /// [`Error::Adapter`] names the first setting out of range; of a module that the model lacks, it lists those that it
    /// has.
    pub fn validate(&self, model: &ModelConfig) -> Result<(), Error> {
        let wrong = |key: &'static str, found: String, expected: String| {
            Err(Error::Adapter { key, found, expected })
        };
        let widest = model.hidden_size.max(model.intermediate_size);
        if self.rank == 0 || self.rank > widest {
            let expected = format!("a whole number from 1 to {widest}");
            return wrong("rank", self.rank.to_string(), expected);
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return wrong("alpha", self.alpha.to_string(), "a number above 0".to_owned());
        }
        let modules = modules(model);
        for target in &self.target_modules {
            let known = target == ALL || modules.iter().any(|name| is_target(name, target));
            if !known {
                let expected = format!("{ALL} or some of {}", last_parts(&modules).join(", "));
                return wrong("target_modules", target.clone(), expected);
            }
        }
        if self.target_modules.is_empty() {
            return wrong("target_modules", "empty".to_owned(), "at least one".to_owned());
        }
        Ok(())
    }

    fn targets(&self, module: &str) -> bool {
        self.target_modules.iter().any(|target| target == ALL || is_target(module, target))
    }
}

/// Stands for every linear map of the layers.
const ALL: &str = "all-linear";

/// As in PEFT: the whole name, or its end from a point on.
fn is_target(module: &str, target: &str) -> bool {
    module.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The names of the linear maps of the first layer.
fn modules(config: &ModelConfig) -> Vec<String> {
    use crate::assemble::LayerPart::{
        AttentionOutput, Down, Gate, Key, Query, QueryKeyValue, Up, Value,
    };
    let attention: &[_] =
        if config.fuses_queries() { &[QueryKeyValue] } else { &[Query, Key, Value] };
    let gate: &[_] = if config.family.is_gated() { &[Gate] } else { &[] };
    let parts = [attention, &[AttentionOutput], gate, &[Up, Down]].concat();
    parts.into_iter().map(|part| name(config.family, Part::Layer(0, part))).collect()
}

fn last_parts(modules: &[String]) -> Vec<&str> {
    let last = |name: &'_ String| name.rfind('.').map_or(0, |point| point + 1);
    let mut parts: Vec<&str> = modules.iter().map(|name| &name[last(name)..]).collect();
    parts.dedup();
    parts
}

impl<B: Backend> Decoder<B> {
    /// Adds a fresh adapter, which changes nothing yet, and freezes everything else: `A` is uniform within
    /// `1 / sqrt(in)`, `B` is 0. An adapter that was there is dropped.
    ///
    /// # Errors
    /// [`Error::Adapter`], see [`LoraConfig::validate`].
    pub fn with_adapter(self, config: &LoraConfig, seed: u64) -> Result<Self, Error> {
        config.validate(&self.config)?;
        let mut decoder = self.without_adapter().no_grad();
        let family = decoder.config.family;
        let mut rng = stream(seed);
        for (part, map) in decoder.linear_maps_mut() {
            if !config.targets(&name(family, part)) {
                continue;
            }
            let weight = map.weight.val();
            let ([from, to], device, dtype) = (weight.dims(), weight.device(), weight.dtype());
            let bound = (from as f64).sqrt().recip();
            let a: Vec<f32> = (0..from * config.rank)
                .map(|_| {
                    #[allow(clippy::cast_possible_truncation, reason = "weights have 32 bits")]
                    let number = rng.random_range(-bound..bound) as f32;
                    number
                })
                .collect();
            let a = TensorData::new(a, [from, config.rank]);
            let a = Tensor::<B, 2>::from_data(a, &device);
            map.adapter = Some(Adapter {
                a: Param::from_tensor(a.cast(dtype)),
                b: Param::from_tensor(Tensor::zeros([config.rank, to], (&device, dtype))),
                scale: config.scale(),
            });
        }
        decoder.adapter = Some(config.clone());
        Ok(decoder)
    }

    /// The model under its adapter, which shares its weights: the reference of a policy that trains an adapter. They stay
    /// frozen; see [`Decoder::unfrozen`].
    #[must_use]
    pub fn without_adapter(&self) -> Self {
        let mut decoder = self.clone();
        for (_, map) in decoder.linear_maps_mut() {
            map.adapter = None;
        }
        decoder.adapter = None;
        decoder
    }

    /// The adapter's corrections added to the weights; the same model without an adapter, up to rounding, all of whose
    /// weights learn.
    #[must_use]
    pub fn merge_adapter(mut self) -> Self {
        for (_, map) in self.linear_maps_mut() {
            if map.adapter.is_some() {
                // Detached: what is merged is a weight of its own, not the result of others.
                map.weight = Param::from_tensor(map.merged().detach());
                map.adapter = None;
            }
        }
        self.adapter = None;
        self.unfrozen()
    }

    /// The model with all of its weights learning again.
    #[must_use]
    pub fn unfrozen(self) -> Self {
        self.map(&mut Thaw)
    }

    /// The settings of the adapter, if there is one.
    pub fn adapter(&self) -> Option<&LoraConfig> {
        self.adapter.as_ref()
    }
}
