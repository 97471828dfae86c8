//! The decoder against itself: with and without a cache, padded and not, grouped and not.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests on tiny models")]

use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use transformer::{
    Array, Decoder, ModelConfig, Targets, Weights, pad_right, token_log_probs_and_entropy,
};

type B = Flex;

/// A tiny model with weights large enough for its outputs to differ.
fn config(key_value_heads: usize, tied: bool) -> ModelConfig {
    let text = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 37, "hidden_size": 24,
             "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "head_dim": 6,
             "num_key_value_heads": {key_value_heads}, "max_position_embeddings": 96,
             "tie_word_embeddings": {tied}, "initializer_range": 0.3}}"#
    );
    ModelConfig::from_json(&text, "config.json").unwrap()
}

fn decoder(key_value_heads: usize, tied: bool) -> Decoder<B> {
    Decoder::init(&config(key_value_heads, tied), 7, &FlexDevice)
}

/// Rows of made-up tokens.
fn rows(lengths: &[usize]) -> Vec<Vec<u32>> {
    let token = |row: usize, t: usize| ((row * 31 + t * t * 7 + t * 3 + 5) % 37) as u32;
    let row = |(row, &length): (usize, &usize)| (0..length).map(|t| token(row, t)).collect();
    lengths.iter().enumerate().map(row).collect()
}

fn alone(decoder: &Decoder<B>, row: &[u32]) -> Vec<f32> {
    decoder.hidden(pad_right(&[row], &FlexDevice)).into_data().to_vec().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-4, "{index}: {found} is not {expected}");
    }
}

/// State `t` of row `row`.
fn state(hidden: &Tensor<B, 3>, row: usize, t: usize) -> Vec<f32> {
    let [_, _, model] = hidden.dims();
    hidden.clone().slice([row..row + 1, t..t + 1, 0..model]).into_data().to_vec().unwrap()
}

#[test]
fn padding_does_not_reach_back() {
    let decoder = decoder(2, true);
    let rows = rows(&[9, 3, 6]);
    let hidden = decoder.hidden(pad_right(&rows, &FlexDevice));
    for (index, row) in rows.iter().enumerate() {
        let expected = alone(&decoder, row);
        for (t, expected) in expected.chunks(24).enumerate() {
            assert_close(&state(&hidden, index, t), expected);
        }
    }
}

#[test]
fn a_cache_changes_nothing() {
    for key_value_heads in [4, 2, 1] {
        let decoder = decoder(key_value_heads, false);
        let rows = rows(&[35, 32, 34]);
        let mut cache = decoder.cache(3, 40);
        let lengths = [5, 2, 4];
        let tokens: Vec<&[u32]> = rows.iter().zip(lengths).map(|(row, n)| &row[..n]).collect();
        let hidden = decoder.hidden_into(pad_right(&tokens, &FlexDevice), &lengths, &mut cache);
        for (row, tokens) in tokens.iter().enumerate() {
            let expected = alone(&decoder, tokens);
            assert_close(&state(&hidden, row, lengths[row] - 1), &expected[expected.len() - 24..]);
        }
        for step in 0..30 {
            let next: Vec<i64> =
                (0..3).map(|row| i64::from(rows[row][lengths[row] + step])).collect();
            let next = Tensor::from_data(TensorData::new(next, [3]), &FlexDevice);
            let states = decoder.step(next, &mut cache).unsqueeze_dim::<3>(1);
            for row in 0..3 {
                let length = lengths[row] + step + 1;
                assert_eq!(cache.length(row), length);
                let expected = alone(&decoder, &rows[row][..length]);
                assert_close(&state(&states, row, 0), &expected[expected.len() - 24..]);
            }
        }
    }
}

#[test]
fn rows_of_a_cache_can_be_given_up_and_taken_again() {
    let decoder = decoder(2, true);
    let rows = rows(&[12, 7, 9, 5]);
    let device = FlexDevice;
    let mut cache = decoder.cache(3, 20);
    decoder.hidden_into(pad_right(&rows[..3], &device), &[12, 7, 9], &mut cache);
    assert_eq!((cache.rows(), cache.free_rows()), (3, 0));
    // The last row takes the place of the first.
    cache.swap_remove(0);
    decoder.hidden_into(pad_right(&rows[3..], &device), &[5], &mut cache);
    let next = Tensor::from_data([1, 2, 3], &device);
    let states = decoder.step(next, &mut cache).unsqueeze_dim::<3>(1);
    for (place, (row, token)) in [(2, 1), (1, 2), (3, 3)].into_iter().enumerate() {
        let mut tokens: Vec<u32> = rows[row].clone();
        tokens.push(token);
        let expected = alone(&decoder, &tokens);
        assert_close(&state(&states, place, 0), &expected[expected.len() - 24..]);
    }
    cache.swap_remove(2);
    assert_eq!((cache.rows(), cache.length(0)), (2, 10));
}

#[test]
fn grouped_heads_equal_repeated_heads() {
    let grouped = decoder(2, true);
    let mut weights = Weights::default();
    let source = grouped.weights();
    let names: Vec<String> = source.names().map(str::to_owned).collect();
    for name in names {
        let mut array = source.get(&name).unwrap();
        if name.contains("k_proj") || name.contains("v_proj") {
            // Heads are rows of `[key_value_heads * head_dim, model]`; each of the two serves two query heads.
            let head = array.data.len() / 2;
            let (first, second) = array.data.split_at(head);
            array = Array { shape: vec![24, 24], data: [first, first, second, second].concat() };
        }
        weights.insert(name, array);
    }
    let repeated = Decoder::<B>::from_weights(&config(4, true), &mut weights, &FlexDevice).unwrap();
    let row = &rows(&[17])[0];
    assert_close(&alone(&repeated, row), &alone(&grouped, row));
}

/// The gradients of all weights, in the order of the module.
struct Collect<'a>(&'a GradientsParams, Vec<Vec<f32>>);

impl ModuleVisitor<Autodiff<B>> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let gradient = self.0.get::<B, D>(param.id).unwrap();
        self.1.push(gradient.into_data().to_vec().unwrap());
    }
}

/// Adds a multiple of a direction to one weight tensor.
struct Shift<'a> {
    place: usize,
    shifted: usize,
    step: f32,
    direction: &'a [f32],
}

impl ModuleMapper<B> for Shift<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        self.place += 1;
        if self.place - 1 != self.shifted {
            return param;
        }
        param.map(|weight| {
            let direction = TensorData::new(self.direction.to_vec(), weight.shape());
            let direction: Tensor<B, D> = Tensor::from_data(direction, &weight.device());
            weight + direction * self.step
        })
    }
}

#[test]
fn gradients_are_slopes() {
    let device = FlexDevice;
    for (key_value_heads, tied) in [(2, false), (4, true)] {
        let trained = Decoder::<Autodiff<B>>::init(&config(key_value_heads, tied), 7, &device);
        let plain = trained.valid();
        let rows = rows(&[8, 5]);
        let targets = Targets { positions: vec![0, 4, 7, 8, 11], tokens: vec![3, 1, 36, 0, 3] };

        let hidden = trained.hidden(pad_right(&rows, &device));
        let (log_probs, entropy) = token_log_probs_and_entropy(&trained, hidden, &targets);
        let value = (log_probs - entropy * 0.5).sum();
        let gradients = GradientsParams::from_grads(value.backward(), &trained);
        let mut collect = Collect(&gradients, Vec::new());
        trained.visit(&mut collect);

        let value = |decoder: &Decoder<B>| -> f64 {
            let hidden = decoder.hidden(pad_right(&rows, &device));
            let (log_probs, entropy) = token_log_probs_and_entropy(decoder, hidden, &targets);
            (log_probs - entropy * 0.5).into_data().iter::<f64>().sum()
        };
        let step = 1e-2;
        for (place, gradient) in collect.1.iter().enumerate() {
            let length = gradient.iter().map(|slope| slope * slope).sum::<f32>().sqrt();
            assert!(length > 1e-3, "weight {place} has no gradient");
            let direction: Vec<f32> = gradient.iter().map(|slope| slope / length).collect();
            let shifted = |step: f32| {
                let shift = &mut Shift { place: 0, shifted: place, step, direction: &direction };
                value(&plain.clone().map(shift))
            };
            let slope = (shifted(step) - shifted(-step)) / f64::from(2.0 * step);
            let found = f64::from(length);
            assert!(
                (slope - found).abs() < 0.02 * found.max(1.0),
                "weight {place}: slope {slope}, gradient {found}"
            );
        }
    }
}
