//! The parameters of any module by name.

use crate::Error;
use crate::weights::{Array, Weights};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::collections::HashMap;
use training::Fingerprint;

/// Where a visitor stands in a module.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    /// The names from the module inwards, joined by points.
    pub(crate) fn joined(&self) -> String {
        self.0.join(".")
    }
}

/// The path of every parameter of floating-point numbers, such as `layers.0.attention.output.weight`.
pub(crate) fn paths<M: Module<B>, B: Backend>(module: &M) -> HashMap<ParamId, String> {
    let mut visitor = Paths { path: Path::default(), found: HashMap::new() };
    module.visit(&mut visitor);
    visitor.found
}

struct Paths {
    path: Path,
    found: HashMap<ParamId, String>,
}

impl<B: Backend> ModuleVisitor<B> for Paths {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.found.insert(param.id, self.path.joined());
    }

    fn enter_module(&mut self, name: &str, _kind: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _kind: &str) {
        self.path.exit();
    }
}

/// The paths of all parameters that learn, in the order of the module, for [`training::OptimizerConfig::check_groups`].
pub fn learning_paths<M: Module<B>, B: Backend>(module: &M) -> Vec<String> {
    let mut visitor = LearningPaths { path: Path::default(), found: Vec::new() };
    module.visit(&mut visitor);
    visitor.found
}

struct LearningPaths {
    path: Path,
    found: Vec<String>,
}

impl<B: Backend> ModuleVisitor<B> for LearningPaths {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if param.is_require_grad() {
            self.found.push(self.path.joined());
        }
    }

    fn enter_module(&mut self, name: &str, _kind: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _kind: &str) {
        self.path.exit();
    }
}

/// All parameters that learn, by their paths.
pub(crate) fn learning<M: Module<B>, B: Backend>(module: &M) -> Weights {
    let mut visitor = Read { path: Path::default(), found: Weights::default() };
    module.visit(&mut visitor);
    visitor.found
}

/// A hash of all parameters, whether they learn or not, for [`Fingerprint::with_bytes`].
pub fn fingerprint_of<M: Module<B>, B: Backend>(module: &M) -> String {
    let mut visitor = Hash { path: Path::default(), hash: Some(Fingerprint::default()) };
    module.visit(&mut visitor);
    visitor.hash.unwrap_or_default().finish()
}

struct Hash {
    path: Path,
    hash: Option<Fingerprint>,
}

impl<B: Backend> ModuleVisitor<B> for Hash {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let data = param.val().into_data();
        let hash = self.hash.take().unwrap_or_default();
        self.hash = Some(hash.with_bytes(&self.path.joined(), data.as_bytes()));
    }

    fn enter_module(&mut self, name: &str, _kind: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _kind: &str) {
        self.path.exit();
    }
}

struct Read {
    path: Path,
    found: Weights,
}

impl<B: Backend> ModuleVisitor<B> for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !param.is_require_grad() {
            return;
        }
        let data = param.val().into_data();
        let array = Array { shape: data.shape.to_vec(), data: data.iter().collect() };
        self.found.insert(self.path.joined(), array);
    }

    fn enter_module(&mut self, name: &str, _kind: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _kind: &str) {
        self.path.exit();
    }
}

/// The module with the parameters of `weights` in the place of its own; what learns must be there, what does not stays.
pub(crate) fn with_learning<M: Module<B>, B: Backend>(
    module: M,
    weights: Weights,
) -> Result<M, Error> {
    let mut mapper = Write { path: Path::default(), weights, error: None };
    let module = module.map(&mut mapper);
    match mapper.error {
        Some(error) => Err(error),
        None => mapper.weights.finish().map(|()| module),
    }
}

struct Write {
    path: Path,
    weights: Weights,
    error: Option<Error>,
}

impl<B: Backend> ModuleMapper<B> for Write {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !param.is_require_grad() {
            return param;
        }
        let shape = param.dims();
        match self.weights.take(&self.path.joined(), &shape) {
            Ok(data) => {
                let (id, tensor, mapper) = param.consume();
                let placed = (&tensor.device(), tensor.dtype());
                let restored = Tensor::from_data(TensorData::new(data, shape), placed);
                Param::from_mapped_value(id, restored.require_grad(), mapper)
            }
            Err(error) => {
                self.error.get_or_insert(error);
                param
            }
        }
    }

    fn enter_module(&mut self, name: &str, _kind: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _kind: &str) {
        self.path.exit();
    }
}
