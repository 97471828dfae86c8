//! The decoder: embedding, layers, final norm, output projection.

use crate::attention::{Attention, Pass, Step, Turns};
use crate::batch::indices;
use crate::config::ModelConfig;
use crate::feed_forward::FeedForward;
use crate::kv_cache::{KeyValue, KvCache};
use crate::lora::LoraConfig;
use crate::norm::Norm;
use crate::packed::Packed;
use crate::rotary::Rotary;
use burn::module::{Module, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Int, Tensor};
use kernels::{Place, Tree, project_transposed, select_rows};

/// One layer: attention and feed-forward block, each behind a norm and added to the stream.
#[derive(Module, Debug)]
pub(crate) struct Layer<B: Backend> {
    pub(crate) attention_norm: Norm<B>,
    pub(crate) attention: Attention<B>,
    /// Of what attention adds.
    pub(crate) attention_output_norm: Option<Norm<B>>,
    pub(crate) feed_forward_norm: Norm<B>,
    pub(crate) feed_forward: FeedForward<B>,
    /// Of what the feed-forward block adds.
    pub(crate) feed_forward_output_norm: Option<Norm<B>>,
    /// Both blocks read the same state.
    pub(crate) parallel: bool,
}

impl<B: Backend> Layer<B> {
    /// `attend` is the attention block up to its output projection. With `wanted`, only the tokens at these places go on from
    /// there: no other layer reads the rest.
    fn forward(
        &self,
        x: Tensor<B, 2>,
        wanted: Option<&[usize]>,
        attend: impl FnOnce(&Attention<B>, Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let attended = attend(&self.attention, self.attention_norm.forward(x.clone()));
        let [x, attended] = at([x, attended], wanted);
        let attended = self.attention.output.forward(attended);
        let attended = normed(self.attention_output_norm.as_ref(), attended);
        if self.parallel {
            return self.feed(x.clone()) + attended + x;
        }
        let x = attended + x;
        self.feed(x.clone()) + x
    }

    fn feed(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let fed = self.feed_forward.forward(self.feed_forward_norm.forward(x));
        normed(self.feed_forward_output_norm.as_ref(), fed)
    }
}

/// The rows of both at these places, or all of them.
fn at<B: Backend>(both: [Tensor<B, 2>; 2], places: Option<&[usize]>) -> [Tensor<B, 2>; 2] {
    let Some(places) = places else { return both };
    let places = indices(places, &both[0].device());
    both.map(|x| select_rows(x, places.clone()))
}

fn normed<B: Backend>(norm: Option<&Norm<B>>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

/// A decoder-only transformer of one of the families of [`crate::Family`].
#[derive(Module, Debug)]
pub struct Decoder<B: Backend> {
    /// `[vocabulary, model]`.
    pub(crate) embedding: Param<Tensor<B, 2>>,
    /// `[context, model]`, if places are learned.
    pub(crate) positions: Option<Param<Tensor<B, 2>>>,
    pub(crate) layers: Vec<Layer<B>>,
    pub(crate) norm: Norm<B>,
    /// `[vocabulary, model]`, unless the embedding serves.
    pub(crate) output: Option<Param<Tensor<B, 2>>>,
    #[module(skip)]
    pub(crate) rotary: Option<Rotary>,
    #[module(skip)]
    pub(crate) config: ModelConfig,
    /// The settings of the adapters in the layers, if there are any.
    #[module(skip)]
    pub(crate) adapter: Option<LoraConfig>,
}

/// Keys and values of a row of tokens, layer by layer, that rows of a batch can follow.
#[derive(Debug)]
pub(crate) struct Prefix<B: Backend> {
    layers: Vec<KeyValue<B>>,
}

impl<B: Backend> Prefix<B> {
    fn tokens(&self) -> usize {
        self.layers.first().map_or(0, KeyValue::slots)
    }
}

/// What all layers share in one pass over rows that follow a path of prefixes.
struct Following<'a, B: Backend> {
    path: &'a [Prefix<B>],
    turns: Turns<B>,
    pass: Pass<B>,
}

impl<B: Backend> Following<'_, B> {
    /// Attention in the layer of this index, up to its output projection; `keep` is given the new keys and values.
    fn attend(
        &self,
        index: usize,
        attention: &Attention<B>,
        x: Tensor<B, 2>,
        keep: &mut dyn FnMut(KeyValue<B>),
    ) -> Tensor<B, 2> {
        let past: Vec<&KeyValue<B>> =
            self.path.iter().map(|prefix| &prefix.layers[index]).collect();
        attention.forward(x, &self.turns, &self.pass, &past, keep)
    }
}

impl<B: Backend> Decoder<B> {
    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> B::Device {
        self.embedding.val().device()
    }

    /// The type of the weights, which is also that of the cache.
    pub fn dtype(&self) -> DType {
        self.embedding.val().dtype()
    }

    /// Hidden states after the final norm, for training and scoring.
    ///
    /// # Shapes
    /// `tokens` `[rows, time]`, padded on the right, to `[rows, time, model]`. Attention is causal, so what stands in
    /// the padding cannot change the states before it.
    pub fn hidden(&self, tokens: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        let [rows, time] = tokens.dims();
        let hidden = self.extend(tokens, &vec![time; rows], &[], None, &mut |_, _| {});
        hidden.reshape([rows, time, self.config.hidden_size])
    }

    /// As [`Decoder::hidden`], of rows that lie one behind the other, without padding; what they begin with alike is read once.
    ///
    /// Positions start anew at every row and attention stays within it, so that a state depends on nothing but its own
    /// row. Everything but attention is computed for all tokens together, and the last layer behind its attention for the
    /// wanted states alone. On the CPU attention is computed row by row, elsewhere rows of similar length are padded for attention
    /// alone; scores exist for a block of queries of each row at a time. Elsewhere all scores of what learns exist: what
    /// trains asks [`Decoder::hidden_packed_for_training`].
    ///
    /// # Shapes
    /// To `[1, states, model]`, those that [`Packed`] was told to want; [`Packed::place`] says where those of a row are.
    ///
    /// # Panics
    /// If no state is wanted.
    pub fn hidden_packed(&self, packed: &Packed) -> Tensor<B, 3> {
        let pass = self.pass_of(packed);
        self.through_packed(packed, |attention, x, turns| attention.forward_packed(x, turns, &pass))
    }

    /// What all layers share in a pass over packed rows, on this backend or on that around which it learns.
    fn pass_of<I: Backend>(&self, packed: &Packed) -> Pass<I> {
        Pass::new(packed.trees().to_vec(), self.config.sliding_window.as_ref())
    }

    fn through_packed(
        &self,
        packed: &Packed,
        attend: impl Fn(&Attention<B>, Tensor<B, 2>, &Turns<B>) -> Tensor<B, 2>,
    ) -> Tensor<B, 3> {
        let device = self.device();
        let count = packed.wanted().map_or(packed.tokens().len(), <[usize]>::len);
        assert!(count > 0, "a state is wanted");
        let tokens = crate::pad_right::<B>(&[packed.tokens()], &device).flatten(0, 1);
        let turns = self.turns(packed.positions(), &device);
        let x = self.embed(tokens, packed.positions());
        let attend = |_, attention: &Attention<B>, x| attend(attention, x, &turns);
        let hidden = self.through_layers(x, packed.wanted(), attend);
        hidden.reshape([1, count, self.config.hidden_size])
    }

    /// States behind all layers and the final norm, of the tokens at the wanted places or of all.
    fn through_layers(
        &self,
        mut x: Tensor<B, 2>,
        wanted: Option<&[usize]>,
        mut attend: impl FnMut(usize, &Attention<B>, Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        for (index, layer) in self.layers.iter().enumerate() {
            let wanted = wanted.filter(|_| index + 1 == self.layers.len());
            x = layer.forward(x, wanted, |attention, x| attend(index, attention, x));
        }
        self.norm.forward(x)
    }

    /// Hidden states of rows that all follow `path`, one stretch of tokens after the other; `keep` is given every
    /// layer's index, keys and values of the new tokens.
    ///
    /// # Shapes
    /// `tokens` as for [`Decoder::hidden`]; of row `i` the first `lengths[i]` are real. To `[wanted, model]`, the states at these
    /// places, flat as `row * time + t`; without them to `[rows * time, model]`.
    pub(crate) fn extend(
        &self,
        tokens: Tensor<B, 2, Int>,
        lengths: &[usize],
        path: &[Prefix<B>],
        wanted: Option<&[usize]>,
        keep: &mut dyn FnMut(usize, KeyValue<B>),
    ) -> Tensor<B, 2> {
        let (x, following) = self.follow(tokens, lengths, path);
        self.through_layers(x, wanted, |index, attention, x| {
            following.attend(index, attention, x, &mut |own| keep(index, own))
        })
    }

    /// What the first layer reads of such rows.
    fn follow<'a>(
        &self,
        tokens: Tensor<B, 2, Int>,
        lengths: &[usize],
        path: &'a [Prefix<B>],
    ) -> (Tensor<B, 2>, Following<'a, B>) {
        let [_, time] = tokens.dims();
        let start: usize = path.iter().map(Prefix::tokens).sum();
        let positions: Vec<usize> = (start..start + time).collect();
        let turns = self.turns(&positions, &tokens.device());
        let row = |(row, length): (usize, &usize)| Tree::from(row * time..row * time + length);
        let rows = lengths.iter().enumerate().map(row).collect();
        let pass = Pass::new(rows, self.config.sliding_window.as_ref());
        (self.embed(tokens.flatten(0, 1), &positions), Following { path, turns, pass })
    }

    /// Reads one row of tokens behind `path`, to be followed by others.
    ///
    /// # Shapes
    /// `tokens` `[1, time]`, to the states of the wanted ones, `[wanted, model]`; at least one.
    pub(crate) fn read(
        &self,
        tokens: Tensor<B, 2, Int>,
        path: &[Prefix<B>],
        wanted: &[usize],
    ) -> (Tensor<B, 2>, Prefix<B>) {
        let mut layers = Vec::with_capacity(self.layers.len());
        let [_, time] = tokens.dims();
        let mut keep = |_, own| layers.push(own);
        let states = self.extend(tokens, &[time], path, Some(wanted), &mut keep);
        (states, Prefix { layers })
    }

    /// As [`Decoder::read`] where no state is wanted: the last layer makes nothing but keys and values.
    pub(crate) fn remember(&self, tokens: Tensor<B, 2, Int>, path: &[Prefix<B>]) -> Prefix<B> {
        let mut layers = Vec::with_capacity(self.layers.len());
        let [_, time] = tokens.dims();
        let (mut x, following) = self.follow(tokens, &[time], path);
        for (index, layer) in self.layers.iter().enumerate() {
            if index + 1 == self.layers.len() {
                let x = layer.attention_norm.forward(x);
                layers.push(layer.attention.remember(x, &following.turns));
                break;
            }
            x = layer.forward(x, None, |attention, x| {
                following.attend(index, attention, x, &mut |own| layers.push(own))
            });
        }
        Prefix { layers }
    }

    /// A cache for `rows` rows of `slots` tokens each.
    pub fn cache(&self, rows: usize, slots: usize) -> KvCache<B> {
        KvCache::new(&self.config, rows, slots, self.dtype(), &self.device())
    }

    /// Reads rows into unused rows of a cache; those of `path`, which all follow, come with them.
    ///
    /// # Shapes
    /// As for [`Decoder::extend`]; states beyond a row's length mean nothing.
    pub(crate) fn admit(
        &self,
        tokens: Tensor<B, 2, Int>,
        lengths: &[usize],
        path: &[Prefix<B>],
        wanted: Option<&[usize]>,
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 2> {
        let [_, time] = tokens.dims();
        let first = cache.rows();
        let start: usize = path.iter().map(Prefix::tokens).sum();
        let totals: Vec<usize> = lengths.iter().map(|length| start + length).collect();
        cache.add_rows(&totals);
        let own: Vec<Place> = lengths
            .iter()
            .enumerate()
            .map(|(row, &count)| Place { row: first + row, slot: start, from: row * time, count })
            .collect();
        self.extend(tokens, lengths, path, wanted, &mut |index, new| {
            cache.update(index, |mut stored| {
                let mut slot = 0;
                for prefix in path {
                    let count = prefix.tokens();
                    let rows = first..first + lengths.len();
                    let places: Vec<Place> =
                        rows.map(|row| Place { row, slot, from: 0, count }).collect();
                    stored = stored.write(prefix.layers[index].clone(), &places);
                    slot += count;
                }
                stored.write(new, &own)
            });
        })
    }

    /// Reads rows into unused rows of a cache.
    ///
    /// # Shapes
    /// `tokens` `[rows, time]`, padded on the right, of which the first `lengths[i]` are real, to `[rows, time, model]`:
    /// the states after the final norm. Those beyond a row's length mean nothing.
    ///
    /// # Panics
    /// If `lengths` has another number of rows than `tokens`, or the cache has no room.
    pub fn hidden_into(
        &self,
        tokens: Tensor<B, 2, Int>,
        lengths: &[usize],
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 3> {
        let [rows, time] = tokens.dims();
        assert_eq!(lengths.len(), rows, "one length for every row of tokens");
        assert!(rows <= cache.free_rows() && time <= cache.slots(), "the cache has room");
        let hidden = self.admit(tokens, lengths, &[], None, cache);
        hidden.reshape([rows, time, self.config.hidden_size])
    }

    /// The state after the final norm of one more token for every row of a cache, which takes them up.
    ///
    /// # Shapes
    /// `tokens` `[rows]` to `[rows, model]`.
    ///
    /// # Panics
    /// If there is not one token for every row in use, or a row is full.
    pub fn step(&self, tokens: Tensor<B, 1, Int>, cache: &mut KvCache<B>) -> Tensor<B, 2> {
        let [rows] = tokens.dims();
        assert_eq!(rows, cache.rows(), "one token for every row of the cache");
        assert!(cache.longest() < cache.slots(), "the cache has room");
        let positions = cache.lengths().to_vec();
        let turns = self.turns(&positions, &tokens.device());
        let step = Step::new(&positions, self.config.sliding_window.as_ref());
        let x = self.embed(tokens, &positions);
        let hidden = self.through_layers(x, None, |index, attention, x| {
            let mut attended = None;
            cache.update(index, |stored| {
                let (x, stored) = attention.step(x.clone(), &turns, &step, stored);
                attended = Some(x);
                stored
            });
            attended.unwrap_or(x)
        });
        cache.advance();
        hidden
    }

    /// Unnormalised log-probabilities of the next token, `[positions, model]` to `[positions, vocabulary]`.
    pub fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        project_transposed(hidden, self.output_weights())
    }

    /// The output projection, `[vocabulary, model]`.
    pub(crate) fn output_weights(&self) -> Tensor<B, 2> {
        self.output.as_ref().unwrap_or(&self.embedding).val()
    }

    /// The turns of tokens at these positions.
    fn turns(&self, positions: &[usize], device: &B::Device) -> Turns<B> {
        let rotary = self.rotary.as_ref();
        Turns {
            angles: rotary.map(|rotary| rotary.angles(positions, device)),
            local_angles: rotary.and_then(|rotary| rotary.local_angles(positions, device)),
        }
    }

    /// `[tokens]` to `[tokens, model]`; `positions` are those of all tokens, or of every row of them.
    fn embed(&self, tokens: Tensor<B, 1, Int>, positions: &[usize]) -> Tensor<B, 2> {
        let device = tokens.device();
        let [count] = tokens.dims();
        let mut x = select_rows(self.embedding.val(), tokens);
        if self.config.norms_outputs() {
            // Gemma scales what it embeds, not what it projects.
            x = x * (self.config.hidden_size as f64).sqrt();
        }
        let Some(table) = &self.positions else { return x };
        let rows = count / positions.len().max(1);
        let last = self.config.max_position_embeddings - 1;
        // Padding may stand beyond the last place; what is there means nothing.
        let places: Vec<usize> = positions.iter().map(|&position| position.min(last)).collect();
        let places = indices(&places.repeat(rows), &device);
        x + select_rows(table.val(), places)
    }
}

impl<B: AutodiffBackend> Decoder<B> {
    /// [`Decoder::hidden_packed`] with a backward pass that, on every backend, computes scores of attention again, so that memory
    /// for them grows with tokens, not with the squares of the lengths of rows.
    ///
    /// # Shapes
    /// As for [`Decoder::hidden_packed`].
    ///
    /// # Panics
    /// If no state is wanted.
    pub fn hidden_packed_for_training(&self, packed: &Packed) -> Tensor<B, 3> {
        let pass = self.pass_of(packed);
        self.through_packed(packed, |attention, x, turns| {
            attention.forward_packed_for_training(x, turns, &pass)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two small layers.
    pub(crate) fn config() -> ModelConfig {
        let text = r#"{"model_type": "llama", "vocab_size": 13, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32,
            "initializer_range": 0.4}"#;
        ModelConfig::from_json(text, "config.json").unwrap()
    }
}
