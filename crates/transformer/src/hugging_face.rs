//! A decoder's weights under the names and in the layout of Hugging Face.

use crate::assemble::{LayerPart, Part, Piece, Source};
use crate::config::{Architecture, Family, ModelConfig};
use crate::decoder::Decoder;
use crate::linear::Linear;
use crate::names::{base, is_derived, name};
use crate::norm::Norm;
use crate::weights::{Array, Precision, WEIGHTS_FILE, Weights};
use crate::{Error, files};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use std::path::Path;

/// The name of the file that holds the shape of the model.
const CONFIG_FILE: &str = "config.json";

impl ModelConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`Error::Read`], or those of [`ModelConfig::from_json`].
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(CONFIG_FILE);
        let bytes = files::read(&path)?;
        Self::from_json(&String::from_utf8_lossy(&bytes), &path.display().to_string())
    }

    /// Writes `config.json` of a model folder; `precision` is that of the weights beside it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<(), Error> {
        files::write(&folder.join(CONFIG_FILE), self.to_json(precision.name()).as_bytes())
    }
}

impl<B: Backend> Decoder<B> {
    /// Reads `config.json` and the weights of a model folder.
    ///
    /// # Errors
    /// As [`ModelConfig::from_folder`], [`Weights::from_folder`] and [`Decoder::from_weights`].
    pub fn from_folder(folder: &Path, device: &B::Device) -> Result<Self, Error> {
        let config = ModelConfig::from_folder(folder)?;
        let mut weights = Weights::from_folder(folder)?;
        let decoder = Self::from_weights(&config, &mut weights, device)?;
        weights.finish()?;
        Ok(decoder)
    }

    /// Writes `config.json` and `model.safetensors` of a model folder, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, folder: &Path, precision: Precision) -> Result<(), Error> {
        self.config.save(folder, precision)?;
        self.weights().save(&folder.join(WEIGHTS_FILE), precision)
    }

    /// Takes a decoder's tensors out of `weights`. What stands on top of the decoder (`score.weight`) is left there
    /// for the caller, who then calls [`Weights::finish`].
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::MissingTensor`], [`Error::TensorShape`].
    pub fn from_weights(
        config: &ModelConfig,
        weights: &mut Weights,
        device: &B::Device,
    ) -> Result<Self, Error> {
        config.validate()?;
        let derived: Vec<String> =
            weights.names().filter(|name| is_derived(name)).map(str::to_owned).collect();
        for name in derived {
            weights.discard(&name);
        }
        // Some writers leave out what stands in front of all names.
        let bare = !weights.names().any(|name| name.starts_with(base(config.family)));
        let mut reader = Reader { config, weights, device, bare };
        let decoder = Self::assemble(config, &mut reader)?;
        if !config.has_output() {
            // Some writers store the tied projection a second time.
            weights.discard(&weight(&name(config.family, Part::Output)));
        }
        Ok(decoder)
    }

    /// The decoder under another head: a score needs no output projection, so an untied one is dropped.
    #[must_use]
    pub fn with_architecture(mut self, architecture: Architecture) -> Self {
        self.config.architecture = architecture;
        if !self.config.has_output() {
            self.output = None;
        }
        self
    }

    /// All tensors of the decoder, adapters added to the weights that they correct; a caller may add its own before
    /// writing them.
    pub fn weights(&self) -> Weights {
        let mut weights = Weights::default();
        for (part, piece) in self.pieces() {
            let name = name(self.config.family, part);
            match piece {
                Piece::Table(table) => weights.insert(weight(&name), array(table.val())),
                Piece::Norm(norm) => {
                    weights.insert(weight(&name), array(norm.weight.val()));
                    if let Some(constant) = &norm.bias {
                        weights.insert(bias(&name), array(constant.val()));
                    }
                }
                Piece::Linear(map) => {
                    let layout = Layout::of(&self.config, part);
                    weights.insert(weight(&name), layout.to_file(array(map.merged())));
                    if let Some(constant) = &map.bias {
                        weights.insert(bias(&name), layout.to_file(array(constant.val())));
                    }
                }
            }
        }
        weights
    }
}

fn weight(name: &str) -> String {
    format!("{name}.weight")
}

fn bias(name: &str) -> String {
    format!("{name}.bias")
}

pub(crate) fn array<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Array {
    let shape = tensor.dims().to_vec();
    let data = tensor.into_data().iter::<f32>().collect();
    Array { shape, data }
}

/// How a file lays out the numbers of a linear map, which are `[in, out]` here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// `[in, out]` in the file too, not `[out, in]`.
    keeps_order: bool,
    /// The file holds query, key and value of one head next to each other: so many heads of so many numbers.
    by_head: Option<(usize, usize)>,
}

impl Layout {
    pub(crate) fn of(config: &ModelConfig, part: Part) -> Self {
        let fused = matches!(part, Part::Layer(_, LayerPart::QueryKeyValue));
        let by_head = fused && config.family == Family::GptNeoX;
        Self {
            keeps_order: config.family == Family::Gpt2,
            by_head: by_head.then_some((config.num_attention_heads, config.head_dim)),
        }
    }

    /// Of a matrix of an adapter: `[out, in]` in all families, and the outputs in the order of those of `outputs_of`.
    pub(crate) fn of_adapter(config: &ModelConfig, outputs_of: Option<Part>) -> Self {
        let by_head = outputs_of.and_then(|part| Self::of(config, part).by_head);
        Self { keeps_order: false, by_head }
    }

    /// The shape in the file of a map `[in, out]`.
    pub(crate) fn shape(self, [from, to]: [usize; 2]) -> [usize; 2] {
        if self.keeps_order { [from, to] } else { [to, from] }
    }

    /// `[in, out]` of the numbers in a file; of constants, their order alone.
    pub(crate) fn read(self, data: Vec<f32>, [from, _]: [usize; 2]) -> Vec<f32> {
        let data = self.reorder(data, from, Self::by_kind);
        if self.keeps_order || from == 1 { data } else { transpose(&data, from) }
    }

    /// The inverse of [`Layout::read`].
    pub(crate) fn to_file(self, array: Array) -> Array {
        let Array { shape, data } = array;
        let [from, to] = match shape[..] {
            [from, to] => [from, to],
            _ => [1, data.len()],
        };
        let matrix = shape.len() == 2;
        let data = if self.keeps_order || !matrix { data } else { transpose(&data, to) };
        let data = self.reorder(data, if matrix { from } else { 1 }, Self::by_head);
        Array { shape: if matrix { self.shape([from, to]).to_vec() } else { shape }, data }
    }

    /// Puts the outputs, rows of `width` numbers, in another order.
    fn reorder(
        self,
        data: Vec<f32>,
        width: usize,
        source: fn((usize, usize), usize) -> usize,
    ) -> Vec<f32> {
        let Some(heads) = self.by_head else { return data };
        let rows = data.len() / width.max(1);
        let row = |row: usize| &data[source(heads, row) * width..][..width];
        (0..rows).flat_map(|index| row(index).iter().copied()).collect()
    }

    /// Which output of the file is output `index` here, all queries first, then all keys, then all values.
    fn by_kind((heads, head_dim): (usize, usize), index: usize) -> usize {
        let (kind, head, place) =
            (index / (heads * head_dim), index / head_dim % heads, index % head_dim);
        (head * 3 + kind) * head_dim + place
    }

    /// The inverse of [`Layout::by_kind`].
    fn by_head((heads, head_dim): (usize, usize), index: usize) -> usize {
        let (head, kind, place) = (index / (3 * head_dim), index / head_dim % 3, index % head_dim);
        (kind * heads + head) * head_dim + place
    }
}

/// Takes tensors out of files and puts them on the device.
struct Reader<'a, B: Backend> {
    config: &'a ModelConfig,
    weights: &'a mut Weights,
    device: &'a B::Device,
    /// The names lack what stands in front of all of them.
    bare: bool,
}

impl<B: Backend> Reader<'_, B> {
    fn name(&self, part: Part) -> String {
        let name = name(self.config.family, part);
        match name.strip_prefix(base(self.config.family)) {
            Some(bare) if self.bare => bare.to_owned(),
            _ => name,
        }
    }

    fn vector(&mut self, name: &str, size: usize) -> Result<Tensor<B, 1>, Error> {
        let data = self.weights.take(name, &[size])?;
        Ok(Tensor::from_data(TensorData::new(data, [size]), self.device))
    }
}

impl<B: Backend> Source<B> for Reader<'_, B> {
    type Error = Error;

    fn table(&mut self, part: Part, rows: usize) -> Result<Tensor<B, 2>, Error> {
        let shape = [rows, self.config.hidden_size];
        let data = self.weights.take(&weight(&self.name(part)), &shape)?;
        Ok(Tensor::from_data(TensorData::new(data, shape), self.device))
    }

    /// Brought into order on the host, so that the tensor is laid out in order on every backend.
    fn linear(&mut self, part: Part, sizes: [usize; 2], biased: bool) -> Result<Linear<B>, Error> {
        let name = self.name(part);
        let layout = Layout::of(self.config, part);
        let data = self.weights.take(&weight(&name), &layout.shape(sizes))?;
        let data = TensorData::new(layout.read(data, sizes), sizes);
        let matrix = Tensor::from_data(data, self.device);
        let constant = if biased {
            let data = self.weights.take(&bias(&name), &[sizes[1]])?;
            let data = layout.read(data, [1, sizes[1]]);
            Some(Tensor::from_data(TensorData::new(data, [sizes[1]]), self.device))
        } else {
            None
        };
        Ok(Linear::new(matrix, constant))
    }

    fn norm(&mut self, part: Part, width: usize) -> Result<Norm<B>, Error> {
        let name = self.name(part);
        let scale = self.vector(&weight(&name), width)?;
        let constant = if self.config.family.has_layer_norms() {
            Some(self.vector(&bias(&name), width)?)
        } else {
            None
        };
        Ok(Norm::new(scale, constant, self.config))
    }
}

/// Rows of `columns` numbers to columns, in tiles that fit the nearest cache.
fn transpose(data: &[f32], columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let rows = data.len() / columns.max(1);
    let mut transposed = vec![0.0; data.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                for column in left..columns.min(left + TILE) {
                    transposed[column * rows + row] = data[row * columns + column];
                }
            }
        }
    }
    transposed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_are_told_apart() {
        // Two heads of one number: the file holds q0 k0 v0 q1 k1 v1.
        let layout = Layout { keeps_order: false, by_head: Some((2, 1)) };
        let file = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let read = layout.read(file.clone(), [1, 6]);
        assert_eq!(read, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(layout.to_file(Array { shape: vec![6], data: read }).data, file);
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_was_read(
            from in 1_usize..40,
            heads in 1_usize..4,
            head_dim in 1_usize..6,
            keeps_order in any::<bool>(),
            by_head in any::<bool>(),
        ) {
            let to = 3 * heads * head_dim;
            let layout = Layout { keeps_order, by_head: by_head.then_some((heads, head_dim)) };
            // No family has both.
            prop_assume!(!(keeps_order && by_head));
            let data: Vec<f32> = (0..from * to).map(|number| number as f32).collect();
            let read = layout.read(data.clone(), [from, to]);
            let written = layout.to_file(Array { shape: vec![from, to], data: read });
            prop_assert_eq!(written.shape, layout.shape([from, to]).to_vec());
            prop_assert_eq!(written.data, data);
        }
    }
}
