//! Keys and values of tokens already seen.

use crate::config::ModelConfig;
use burn::tensor::{DType, Tensor, backend::Backend};
use kernels::{Place, move_row, write_rows};

/// Keys and values of one layer, `[rows, slots, key_value_heads, 1, head_dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue<B: Backend> {
    pub(crate) key: Tensor<B, 5>,
    pub(crate) value: Tensor<B, 5>,
}

impl<B: Backend> KeyValue<B> {
    pub(crate) fn slots(&self) -> usize {
        self.key.dims()[1]
    }

    /// `[rows * slots, key_value_heads * head_dim]`.
    pub(crate) fn flat(&self) -> [Tensor<B, 2>; 2] {
        [&self.key, &self.value].map(|x| flat(x.clone()))
    }

    /// Puts new tokens, counted through their rows, in their places.
    pub(crate) fn write(self, new: Self, places: &[Place]) -> Self {
        Self {
            key: write_rows(self.key, flat(new.key), places),
            value: write_rows(self.value, flat(new.value), places),
        }
    }
}

/// `[rows * slots, key_value_heads * head_dim]`.
fn flat<B: Backend>(x: Tensor<B, 5>) -> Tensor<B, 2> {
    let [rows, slots, heads, _, head_dim] = x.dims();
    x.reshape([rows * slots, heads * head_dim])
}

/// What a decoder remembers of rows of unequal length, in memory that is set aside once.
///
/// Every row starts at position 0 and has no holes: row `i` holds the positions `0..length(i)`. Rows in use come first.
#[derive(Debug)]
pub struct KvCache<B: Backend> {
    /// Taken out while a layer writes to it, so that it has one owner.
    layers: Vec<Option<KeyValue<B>>>,
    lengths: Vec<usize>,
    rows: usize,
    slots: usize,
}

impl<B: Backend> KvCache<B> {
    /// Memory for `rows` rows of `slots` tokens each; none is in use.
    pub(crate) fn new(
        config: &ModelConfig,
        rows: usize,
        slots: usize,
        dtype: DType,
        device: &B::Device,
    ) -> Self {
        let shape = [rows, slots, config.num_key_value_heads, 1, config.head_dim];
        let zeros = || Tensor::zeros(shape, (device, dtype));
        let layer = |_| Some(KeyValue { key: zeros(), value: zeros() });
        Self {
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            lengths: Vec::with_capacity(rows),
            rows,
            slots,
        }
    }

    /// Bytes that one token takes up in all layers.
    pub(crate) fn bytes_per_token(config: &ModelConfig, dtype: DType) -> usize {
        let numbers = config.key_width().saturating_mul(2).saturating_mul(config.num_hidden_layers);
        numbers.saturating_mul(dtype.size())
    }

    /// The number of rows in use.
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Rows that can still be taken into use.
    pub fn free_rows(&self) -> usize {
        self.rows - self.lengths.len()
    }

    /// The most tokens that a row can hold.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The number of tokens that a row holds, which is also the position of its next token.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn length(&self, row: usize) -> usize {
        self.lengths[row]
    }

    pub(crate) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(crate) fn longest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Takes rows of these lengths into use, behind the others; their tokens are written layer by layer.
    pub(crate) fn add_rows(&mut self, lengths: &[usize]) {
        self.lengths.extend_from_slice(lengths);
    }

    /// Counts one new token a row, which the layers have stored.
    pub(crate) fn advance(&mut self) {
        self.lengths.iter_mut().for_each(|length| *length += 1);
    }

    /// Gives up a row; the last one takes its place.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn swap_remove(&mut self, row: usize) {
        let last = self.lengths.len() - 1;
        self.lengths.swap_remove(row);
        if row == last {
            return;
        }
        let length = self.lengths[row];
        for layer in 0..self.layers.len() {
            self.update(layer, |KeyValue { key, value }| KeyValue {
                key: move_row(key, last, row, length),
                value: move_row(value, last, row, length),
            });
        }
    }

    /// Changes what a layer remembers.
    pub(crate) fn update(&mut self, layer: usize, change: impl FnOnce(KeyValue<B>) -> KeyValue<B>) {
        if let Some(stored) = self.layers[layer].take() {
            self.layers[layer] = Some(change(stored));
        }
    }
}
