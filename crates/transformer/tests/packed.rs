//! Packed rows give what they give side by side, for every kind of positions and windows, what they share included.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests on tiny models")]

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::BalancedCheckpointing;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use std::path::Path;
use transformer::{Decoder, Packed, pad_right, select_positions};

type Training = Autodiff<Flex>;

/// Its operations are those of other backends.
type Primitives = Autodiff<Flex, BalancedCheckpointing>;

/// Rotary positions, whole, partial, rescaled and of two speeds; learned ones; sliding windows of 8 tokens in some layers or
/// all; grouped heads.
const MODELS: [&str; 8] =
    ["llama3", "llama_linear", "mistral", "qwen2_window", "qwen3", "gemma3", "gpt2", "gpt_neox"];

/// Rows of one token, several of one length, and one far longer than a window.
const LENGTHS: [usize; 8] = [24, 9, 9, 1, 1, 17, 40, 1];

/// Rows that begin as others do: how many of whose tokens they have, and how many of their own.
const BRANCHES: [(usize, usize, usize); 4] = [(0, 20, 9), (6, 30, 2), (6, 30, 12), (5, 17, 0)];

fn decoder<B: Backend<Device = FlexDevice>>(name: &str) -> Decoder<B> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    Decoder::from_folder(&folder, &FlexDevice).unwrap()
}

fn token(row: usize, t: usize) -> u32 {
    ((row * 31 + t * t * 7 + t * 3 + 5) % 61) as u32
}

fn rows() -> Vec<Vec<u32>> {
    let row = |(row, length): (usize, usize)| (0..length).map(|t| token(row, t)).collect();
    let mut rows: Vec<Vec<u32>> = LENGTHS.into_iter().enumerate().map(row).collect();
    for (number, (beginning, shared, own)) in (LENGTHS.len()..).zip(BRANCHES) {
        let own = (0..own).map(|t| token(number, t));
        rows.push(rows[beginning][..shared].iter().copied().chain(own).collect());
    }
    assert!(Packed::new(&rows).tokens().len() + 60 < rows.iter().map(Vec::len).sum());
    rows
}

/// The states of all tokens, row by row, `[tokens, model]`.
fn side_by_side<B: Backend>(decoder: &Decoder<B>, rows: &[Vec<u32>]) -> Tensor<B, 2> {
    let hidden = decoder.hidden(pad_right(rows, &decoder.device()));
    let [_, time, _] = hidden.dims();
    let places = |(row, tokens): (usize, &Vec<u32>)| (0..tokens.len()).map(move |t| row * time + t);
    let positions: Vec<usize> = rows.iter().enumerate().flat_map(places).collect();
    select_positions(hidden, &positions)
}

/// The same of packed rows.
fn packed<B: Backend>(decoder: &Decoder<B>, rows: &[Vec<u32>]) -> Tensor<B, 2> {
    packed_by(decoder, rows, Decoder::hidden_packed)
}

fn packed_by<B: Backend>(
    decoder: &Decoder<B>,
    rows: &[Vec<u32>],
    hidden: impl Fn(&Decoder<B>, &Packed) -> Tensor<B, 3>,
) -> Tensor<B, 2> {
    let packed = Packed::new(rows);
    let places = |(row, tokens): (usize, &Vec<u32>)| {
        let packed = &packed;
        (0..tokens.len()).map(move |t| packed.place(row, t))
    };
    let positions: Vec<usize> = rows.iter().enumerate().flat_map(places).collect();
    select_positions(hidden(decoder, &packed), &positions)
}

fn numbers<B: Backend>(states: Tensor<B, 2>) -> Vec<f32> {
    states.into_data().to_vec().unwrap()
}

#[track_caller]
fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    assert!(expected.iter().any(|number| number.abs() > 0.1), "{name}: all but zero");
    let largest = expected.iter().fold(1.0_f32, |largest, number| largest.max(number.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs() / largest;
        assert!(off < 1e-5, "{name}, {index}: {found} is not {expected}");
    }
}

#[test]
fn states_are_those_of_rows_side_by_side() {
    let rows = rows();
    for name in MODELS {
        let decoder = decoder::<Flex>(name);
        let expected = numbers(side_by_side(&decoder, &rows));
        assert_close(name, &numbers(packed(&decoder, &rows)), &expected);
        let decoder = self::decoder::<Training>(name);
        assert_close(name, &numbers(packed(&decoder, &rows)), &expected);
    }
}

/// All gradients of a weighted sum of the states as one vector.
struct Flat<'a> {
    gradients: &'a GradientsParams,
    values: Vec<f32>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            self.values.extend(gradient.into_data().to_vec::<f32>().unwrap());
        }
    }
}

fn gradients<B: AutodiffBackend<Device = FlexDevice>>(
    decoder: &Decoder<B>,
    states: Tensor<B, 2>,
) -> Vec<f32> {
    let shape = states.dims();
    let factors: Vec<f32> = (0..shape[0] * shape[1]).map(|i| (i as f32 * 0.7).sin()).collect();
    let factors = Tensor::from_data(TensorData::new(factors, shape), &FlexDevice);
    let loss = (states * factors).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), decoder);
    let mut visitor = Flat { gradients: &gradients, values: Vec::new() };
    decoder.visit(&mut visitor);
    visitor.values
}

#[test]
fn gradients_are_those_of_rows_side_by_side() {
    let rows = rows();
    for name in MODELS {
        let decoder = decoder::<Training>(name);
        let expected = gradients(&decoder, side_by_side(&decoder, &rows));
        let found = gradients(&decoder, packed(&decoder, &rows));
        assert_close(name, &found, &expected);
    }
}

/// States and gradients, as training asks for them.
fn learned<B: AutodiffBackend<Device = FlexDevice>>(
    name: &str,
    rows: &[Vec<u32>],
) -> [Vec<f32>; 2] {
    let decoder = decoder::<B>(name);
    let states = packed_by(&decoder, rows, Decoder::hidden_packed_for_training);
    [numbers(states.clone()), gradients(&decoder, states)]
}

#[test]
fn training_reads_and_learns_the_same_on_every_backend() {
    let rows = rows();
    for name in MODELS {
        let decoder = decoder::<Training>(name);
        let states = side_by_side(&decoder, &rows);
        let expected = [numbers(states.clone()), gradients(&decoder, states)];
        for found in [learned::<Training>(name, &rows), learned::<Primitives>(name, &rows)] {
            for (found, expected) in found.iter().zip(&expected) {
                assert_close(name, found, expected);
            }
        }
    }
}

/// Of every row the last state and every third one.
fn wanted(rows: &[Vec<u32>]) -> Packed {
    Packed::wanting(rows, |row, token| token % 3 == 1 || token + 1 == rows[row].len())
}

/// The last state of every row, and the second one where there is one.
fn some<B: Backend>(decoder: &Decoder<B>, rows: &[Vec<u32>], packed: &Packed) -> Tensor<B, 2> {
    let longer = rows.iter().enumerate().filter(|(_, tokens)| tokens.len() > 1);
    let second = longer.map(|(row, _)| packed.place(row, 1));
    let places: Vec<usize> = second.chain(packed.last()).collect();
    select_positions(decoder.hidden_packed(packed), &places)
}

#[test]
fn states_do_not_depend_on_which_are_wanted() {
    let rows = rows();
    for name in MODELS {
        let decoder = decoder::<Flex>(name);
        let expected = numbers(some(&decoder, &rows, &Packed::new(&rows)));
        assert_eq!(numbers(some(&decoder, &rows, &wanted(&rows))), expected, "{name}");
        let decoder = self::decoder::<Training>(name);
        assert_close(name, &numbers(some(&decoder, &rows, &wanted(&rows))), &expected);
        let whole = gradients(&decoder, some(&decoder, &rows, &Packed::new(&rows)));
        let found = gradients(&decoder, some(&decoder, &rows, &wanted(&rows)));
        assert_close(name, &found, &whole);
    }
}

#[test]
fn no_more_states_than_are_wanted() {
    let rows = rows();
    let decoder = decoder::<Flex>("llama3");
    let states = |packed: &Packed| decoder.hidden_packed(packed).dims()[1];
    assert_eq!(states(&Packed::new(&rows)), Packed::new(&rows).tokens().len());
    // The last row is one of the others once more.
    let last = Packed::wanting_last(&rows);
    assert_eq!(states(&last), rows.len() - 1);
    assert_eq!(last.last()[11], last.last()[5]);
}

#[test]
#[should_panic(expected = "the state of token 0 of row 1 is wanted")]
fn a_state_that_is_not_wanted_has_no_place() {
    let packed = Packed::wanting(&[[1, 2], [3, 4]], |row, _| row == 0);
    packed.place(1, 0);
}

#[test]
fn a_row_does_not_see_the_others() {
    let rows = rows();
    let mut others: Vec<Vec<u32>> = rows.clone();
    for row in [0, 2, 6, 8, 9, 10] {
        others[row].iter_mut().for_each(|token| *token = (*token + 1) % 61);
    }
    for name in MODELS {
        let decoder = decoder::<Flex>(name);
        let [one, other] = [&rows, &others]
            .map(|rows| numbers(packed(&decoder, rows).narrow(0, LENGTHS[0], LENGTHS[1])));
        assert_eq!(one, other, "{name}");
    }
}

/// What a row gives does not depend on the rows beside it, so that a run that goes on with fewer of them draws the same.
#[test]
fn a_state_is_the_same_to_the_bit_in_every_batch() {
    let token = |t: usize| ((t * t * 7 + t * 3 + 5) % 61) as u32;
    for name in MODELS {
        let decoder = decoder::<Flex>(name);
        // The states of the first of several rows as they are read to be continued.
        let read = |rows: &[Vec<u32>]| {
            let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
            let mut cache = decoder.cache(rows.len(), 64);
            let tokens = pad_right(rows, &FlexDevice);
            let hidden = decoder.hidden_into(tokens, &lengths, &mut cache);
            numbers(hidden.narrow(0, 0, 1).narrow(1, 0, lengths[0]).squeeze_dim(0))
        };
        for length in [1, 2, 17, 40] {
            let row: Vec<u32> = (0..length).map(token).collect();
            let alone = read(std::slice::from_ref(&row));
            for other in [1, 3, 41, 60] {
                let others: Vec<u32> = (0..other).map(|t| token(t + 9)).collect();
                for copies in [1, 5] {
                    let rows = [vec![row.clone()], vec![others.clone(); copies]].concat();
                    assert_eq!(read(&rows), alone, "{name}: {length} beside {copies} of {other}");
                }
            }
        }
    }
}
