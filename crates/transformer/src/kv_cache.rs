//! Keys and values of tokens already seen.

use crate::batch::indices;
use burn::tensor::{Tensor, TensorData, backend::Backend};

/// Added to scores that must not count. Not merely a large number: C libraries take the slow road when `exp`
/// underflows, but give 0 for minus infinity at once.
pub(crate) const MASKED: f32 = f32::NEG_INFINITY;

/// Recent tokens are kept apart until there are this many, so that a step copies few numbers instead of the whole
/// cache: backends whose tensors cannot be written in place copy all of a tensor that grows.
const RECENT: usize = 24;

/// Keys and values, `[rows, slots, key_value_heads * head_dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue<B: Backend> {
    pub(crate) key: Tensor<B, 3>,
    pub(crate) value: Tensor<B, 3>,
}

impl<B: Backend> KeyValue<B> {
    fn slots(&self) -> usize {
        self.key.dims()[1]
    }

    fn append(self, new: Self) -> Self {
        Self {
            key: Tensor::cat(vec![self.key, new.key], 1),
            value: Tensor::cat(vec![self.value, new.value], 1),
        }
    }
}

/// One layer's part of the cache.
#[derive(Debug, Clone)]
pub(crate) struct LayerCache<B: Backend> {
    /// Row `i` uses its first slots only, as many as its `past` length.
    pub(crate) past: Option<KeyValue<B>>,
    /// Tokens seen since.
    pub(crate) recent: Option<KeyValue<B>>,
}

impl<B: Backend> LayerCache<B> {
    fn parts(&self) -> impl Iterator<Item = &KeyValue<B>> {
        [&self.past, &self.recent].into_iter().flatten()
    }

    /// Adds the newest tokens.
    pub(crate) fn push(&mut self, new: KeyValue<B>) {
        self.recent = Some(match self.recent.take() {
            Some(recent) => recent.append(new),
            None => new,
        });
    }
}

/// What a decoder remembers of rows of unequal length, layer by layer.
///
/// Every row starts at position 0 and has no holes: row `i` holds the positions `0..length(i)`.
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    pub(crate) layers: Vec<LayerCache<B>>,
    past: Vec<usize>,
    recent: Vec<usize>,
    /// Additive mask over the past of every row and head, `[rows, heads * slots]`, if the rows differ in length.
    mask: Option<Tensor<B, 2>>,
    heads: usize,
    device: B::Device,
}

impl<B: Backend> KvCache<B> {
    /// A cache of `rows` empty rows.
    pub(crate) fn new(rows: usize, layers: usize, heads: usize, device: &B::Device) -> Self {
        Self {
            layers: vec![LayerCache { past: None, recent: None }; layers],
            past: vec![0; rows],
            recent: vec![0; rows],
            mask: None,
            heads,
            device: device.clone(),
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.past.len()
    }

    /// The number of tokens that a row holds, which is also the position of its next token.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn length(&self, row: usize) -> usize {
        self.past[row] + self.recent[row]
    }

    /// Keeps only `rows`, in this order; a row may be named twice.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn keep(&mut self, rows: &[usize]) {
        self.consolidate(rows);
    }

    /// The mask over the past, `[rows, heads * slots]`.
    pub(crate) fn mask(&self) -> Option<Tensor<B, 2>> {
        self.mask.clone()
    }

    /// Makes room for `time` new tokens a row.
    pub(crate) fn prepare(&mut self, time: usize) {
        let recent = self.recent.iter().copied().max().unwrap_or(0);
        let ragged = self.recent.iter().any(|&length| length != recent);
        if recent > 0 && (time > 1 || ragged || recent >= RECENT) {
            self.consolidate(&self.all_rows());
        }
    }

    /// Counts tokens that the layers have stored: the first `lengths[i]` of row `i` are real.
    pub(crate) fn advance(&mut self, lengths: &[usize]) {
        for (recent, length) in self.recent.iter_mut().zip(lengths) {
            *recent += length;
        }
    }

    /// Appends the rows of `other`.
    ///
    /// # Panics
    /// If `other` belongs to a decoder with another number of layers.
    pub fn join(&mut self, other: Self) {
        assert_eq!(self.layers.len(), other.layers.len(), "caches of one decoder");
        if self.rows() == 0 {
            *self = other;
            return;
        }
        let rows = [self.all_rows(), other.all_rows()];
        *self = Self::gather(&[(self, &rows[0]), (&other, &rows[1])]);
    }

    fn all_rows(&self) -> Vec<usize> {
        (0..self.rows()).collect()
    }

    /// Moves recent tokens to the past of the rows kept, without holes.
    fn consolidate(&mut self, keep: &[usize]) {
        *self = Self::gather(&[(self, keep)]);
    }

    /// One cache of some rows of each of `sources`, all their tokens past.
    fn gather(sources: &[(&Self, &[usize])]) -> Self {
        let first = sources[0].0;
        let lengths: Vec<usize> = sources
            .iter()
            .flat_map(|(cache, keep)| keep.iter().map(|&row| cache.length(row)))
            .collect();
        let slots = lengths.iter().copied().max().unwrap_or(0);
        let mut offset = 0;
        let mut places = Vec::with_capacity(lengths.len() * slots);
        for (cache, keep) in sources {
            offset = cache.push_places(keep, slots, offset, &mut places);
        }
        let places = indices(&places, &first.device);
        let layer = |index: usize| {
            let parts: Vec<&KeyValue<B>> =
                sources.iter().flat_map(|(cache, _)| cache.layers[index].parts()).collect();
            let pick = |pick: fn(&KeyValue<B>) -> &Tensor<B, 3>| {
                let flat = parts.iter().map(|part| pick(part).clone().flatten::<2>(0, 1)).collect();
                let picked = Tensor::cat(flat, 0).select(0, places.clone());
                let [_, width] = picked.dims();
                picked.reshape([lengths.len(), slots, width])
            };
            let past = (slots > 0)
                .then(|| KeyValue { key: pick(|part| &part.key), value: pick(|part| &part.value) });
            LayerCache { past, recent: None }
        };
        Self {
            layers: (0..first.layers.len()).map(layer).collect(),
            recent: vec![0; lengths.len()],
            mask: first.past_mask(&lengths, slots),
            past: lengths,
            heads: first.heads,
            device: first.device.clone(),
        }
    }

    /// For every kept row and slot the place of its token, counted from `offset` over all slots of the past and then
    /// of the recent tokens; slots beyond the end of a row take whatever comes first, since the mask hides them. Gives
    /// the offset behind this cache.
    fn push_places(
        &self,
        keep: &[usize],
        slots: usize,
        offset: usize,
        places: &mut Vec<usize>,
    ) -> usize {
        let slots_of = |part: fn(&LayerCache<B>) -> &Option<KeyValue<B>>| {
            self.layers.first().and_then(|layer| part(layer).as_ref()).map_or(0, KeyValue::slots)
        };
        let past_slots = slots_of(|layer| &layer.past);
        let recent_slots = slots_of(|layer| &layer.recent);
        let recent_offset = offset + self.rows() * past_slots;
        for &row in keep {
            let place = |token: usize| match token.checked_sub(self.past[row]) {
                None => offset + row * past_slots + token,
                Some(token) => recent_offset + row * recent_slots + token,
            };
            let length = self.length(row);
            places.extend((0..slots).map(|slot| if slot < length { place(slot) } else { 0 }));
        }
        recent_offset + self.rows() * recent_slots
    }

    fn past_mask(&self, lengths: &[usize], slots: usize) -> Option<Tensor<B, 2>> {
        if lengths.iter().all(|&length| length == slots) {
            return None;
        }
        let mut mask = Vec::with_capacity(lengths.len() * self.heads * slots);
        for &length in lengths {
            for _ in 0..self.heads {
                mask.extend((0..slots).map(|slot| if slot < length { 0.0 } else { MASKED }));
            }
        }
        let shape = [lengths.len(), self.heads * slots];
        Some(Tensor::from_data(TensorData::new(mask, shape), &self.device))
    }
}
