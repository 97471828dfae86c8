use super::exact::Case;
use super::*;
use crate::exact::{Exact, any_off};
use crate::tracked::tests::{Fused, Primitives, numbers, wave};
use burn::tensor::TensorData;
use burn::tensor::backend::AutodiffBackend;
use burn_flex::{Flex, FlexDevice};
use proptest::prelude::*;
use proptest::sample::Index;

const SMALL: TileSize = TileSize { positions: 5, tokens: 7 };

fn target(position: usize, token: usize) -> Target {
    Target { position, token }
}

/// In tiles of some size.
fn tiled<B: Backend>(
    [states, weight]: [Tensor<B, 2>; 2],
    targets: &[Target],
    columns: usize,
    size: TileSize,
) -> Tensor<B, 2> {
    in_tiles(states, weight, targets, columns == 2, size).unwrap()
}

/// The result and the gradients of states and weight.
fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
    case: &Case,
    columns: usize,
    ask: impl Fn([Tensor<B, 2>; 2]) -> Tensor<B, 2>,
) -> [Vec<f32>; 3] {
    let operands = case.operands::<B>().map(Tensor::require_grad);
    let result = ask(operands.clone());
    let gradients = (result.clone() * case.gradient::<B>(columns)).sum().backward();
    let [states, weight] = operands.map(|x| numbers(x.grad(&gradients).unwrap()));
    [numbers(result), states, weight]
}

/// What one road found, in the place of the exact numbers.
fn around(found: &[Vec<f32>; 3], exact: &[Vec<Exact>; 3]) -> [Vec<Exact>; 3] {
    let around = |(&found, exact): (&f32, &Exact)| Exact { value: f64::from(found), ..*exact };
    std::array::from_fn(|index| found[index].iter().zip(&exact[index]).map(around).collect())
}

/// Tiles, primitives and numbers of double precision give the same.
fn agrees(case: &Case, size: TileSize) -> Result<(), TestCaseError> {
    for columns in [1, 2] {
        let exact = case.exact(columns);
        let found = learned_numbers::<Fused>(case, columns, |operands| {
            tiled(operands, &case.targets, columns, size)
        });
        prop_assert_eq!(any_off(&found, &exact), None);
        let read = numbers(tiled::<Flex>(case.operands(), &case.targets, columns, size));
        prop_assert_eq!(&read, &found[0]);
        prop_assert!(read.chunks_exact(columns).all(|row| row[0] <= 0.0));
        let primitives = |[states, weight]: [Tensor<Primitives, 2>; 2]| {
            token_log_probs(states, weight, &case.targets, columns == 2)
        };
        if case.targets.is_empty() {
            // Nothing leads back to the operands.
            prop_assert_eq!(primitives(case.operands()).dims(), [0, columns]);
        } else {
            let primitives = learned_numbers::<Primitives>(case, columns, primitives);
            prop_assert_eq!(any_off(&primitives, &exact), None);
            prop_assert_eq!(any_off(&found, &around(&primitives, &exact)), None);
            let recomputed = |[states, weight]: [Tensor<Primitives, 2>; 2]| {
                let (targets, entropy) = (&case.targets, columns == 2);
                recomputed::token_log_probs(states, weight, targets, entropy, size.positions)
                    .unwrap()
            };
            let recomputed = learned_numbers::<Primitives>(case, columns, recomputed);
            prop_assert_eq!(any_off(&recomputed, &exact), None);
        }
    }
    Ok(())
}

#[test]
fn by_hand() {
    let ln = f32::ln;
    let states = Tensor::<Flex, 2>::from_data([[1.0], [0.0], [100.0]], &FlexDevice);
    let weight = Tensor::from_data([[0.0], [ln(3.0)]], &FlexDevice);
    // One to three, even, and one that is certain, in another order.
    let targets = [target(1, 0), target(0, 1), target(2, 1), target(0, 0)];
    let uneven = ln(4.0) - 0.75 * ln(3.0);
    let expected = [-ln(2.0), ln(2.0), ln(0.75), uneven, 0.0, 0.0, ln(0.25), uneven];
    for size in [SMALL, TileSize { positions: 2, tokens: 1 }] {
        let found = numbers(tiled([states.clone(), weight.clone()], &targets, 2, size));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so_and_what_cannot_be_counts_nothing() {
    let states = Tensor::<Flex, 2>::from_data([[1.0], [f32::NAN]], &FlexDevice);
    let weight = Tensor::from_data([[f32::NEG_INFINITY], [2.0]], &FlexDevice);
    let targets = [target(0, 1), target(1, 1)];
    for tokens in [1, 2] {
        let size = TileSize { tokens, ..SMALL };
        let found = numbers(tiled([states.clone(), weight.clone()], &targets, 2, size));
        assert!(found[0].abs() < 1e-6 && found[1].abs() < 1e-6, "{found:?}");
        assert!(found[2].is_nan() && found[3].is_nan(), "{found:?}");
    }
}

type OfPrimitives =
    fn(Tensor<Primitives, 2>, Tensor<Primitives, 2>, &[Target], bool) -> Tensor<Primitives, 2>;

#[test]
fn so_it_is_with_primitives_in_both_passes() {
    let weight = || Tensor::<Primitives, 2>::from_data([[f32::NEG_INFINITY], [2.0]], &FlexDevice);
    for ask in [token_log_probs as OfPrimitives, token_log_probs_for_training] {
        let states = Tensor::from_data([[1.0], [f32::NAN]], &FlexDevice);
        let found = numbers(ask(states, weight(), &[target(0, 1), target(1, 1)], true));
        assert!(found[..2].iter().all(|x| x.abs() < 1e-6), "{found:?}");
        assert!(found[2..].iter().all(|x| x.is_nan()), "{found:?}");
        let weight = weight().require_grad();
        let states = Tensor::from_data([[1.0]], &FlexDevice);
        let gradients = ask(states, weight.clone(), &[target(0, 1)], true).sum().backward();
        let found = numbers(weight.grad(&gradients).unwrap());
        assert!(found.iter().all(|x| x.abs() < 1e-6), "{found:?}");
    }
}

#[test]
fn what_does_not_learn_gets_no_gradient() {
    let targets = vec![target(1, 4)];
    let case = Case { positions: 3, model: 2, vocabulary: 5, targets, size: 1.0 };
    let [states, weight] = case.operands::<Fused>();
    let weight = weight.require_grad();
    let result = tiled([states.clone(), weight.clone()], &case.targets, 1, SMALL);
    let gradients = result.sum().backward();
    assert!(states.grad(&gradients).is_none());
    assert!(weight.grad(&gradients).is_some());
}

#[test]
fn what_does_not_learn_gets_no_gradient_of_primitives_either() {
    let operands = || [wave::<Primitives, 2>([3, 2], 0.37, 1.0), wave([5, 2], 0.73, 1.0)];
    for learns in [[true, false], [false, true]] {
        let [states, weight] = operands();
        let states = if learns[0] { states.require_grad() } else { states };
        let weight = if learns[1] { weight.require_grad() } else { weight };
        let (x, w) = (states.clone(), weight.clone());
        let result = token_log_probs_for_training(x, w, &[target(1, 4)], false);
        let gradients = result.sum().backward();
        let found = [states.grad(&gradients), weight.grad(&gradients)].map(|x| x.is_some());
        assert_eq!(found, learns);
    }
}

#[test]
#[should_panic(expected = "position 3 is not one of 3 states")]
fn a_position_beyond_the_states_is_named() {
    let operand = |rows| wave::<Flex, 2>([rows, 2], 0.37, 1.0);
    token_log_probs(operand(3), operand(5), &[target(3, 0)], false);
}

#[test]
#[should_panic(expected = "token 5 is not one of 5")]
fn so_is_a_token_beyond_the_vocabulary() {
    let operand = |rows| wave::<Flex, 2>([rows, 2], 0.37, 1.0);
    token_log_probs(operand(3), operand(5), &[target(2, 5)], false);
}

#[test]
fn several_tiles_of_full_size_and_extreme_logits() {
    let targets: Vec<Target> = (0..150).map(|i| target(i * 7 % 300, i * 131 % 9_000)).collect();
    for size in [1.0, 200.0] {
        let targets = targets.clone();
        let case = Case { positions: 300, model: 3, vocabulary: 9_000, targets, size };
        agrees(&case, TileSize::of(case.vocabulary)).unwrap();
    }
}

/// The logits are so large that their sum is lost beside the greatest of them, and are greatest in several tiles, in the
/// last tiles, or nowhere.
#[test]
fn logits_that_are_nearly_infinite_neither_overflow_nor_disturb() {
    let big = 2.0_f32.powi(50);
    let square = big * big;
    let learning = |numbers: &[f32]| {
        let data = TensorData::new(numbers.to_vec(), [numbers.len(), 1]);
        Tensor::<Fused, 2>::from_data(data, &FlexDevice).require_grad()
    };
    let operands = [learning(&[big, -big, 0.0]), learning(&[big, 0.0, -big, big, 0.0])];
    let targets =
        [target(0, 0), target(0, 3), target(0, 1), target(1, 2), target(1, 0), target(2, 4)];
    let ln = f32::ln;
    let expected = [0.0, 0.0, -square, 0.0, -2.0 * square, -ln(5.0)];
    let entropies = [ln(2.0), ln(2.0), ln(2.0), 0.0, 0.0, ln(5.0)];
    for tokens in 1..=5 {
        let size = TileSize { positions: 2, tokens };
        let result = tiled(operands.clone(), &targets, 2, size);
        let both = numbers(result.clone());
        for (found, expected) in both.chunks_exact(2).zip(expected.iter().zip(entropies)) {
            assert!((found[0] - expected.0).abs() <= 1e-6 * expected.0.abs().max(1.0), "{both:?}");
            assert!((found[1] - expected.1).abs() < 1e-6, "{both:?}");
        }
        let gradients = result.sum().backward();
        for operand in &operands {
            let found = numbers(operand.grad(&gradients).unwrap());
            assert!(found.iter().all(|x| x.is_finite()), "{found:?}");
        }
    }
}

#[test]
fn an_entropy_does_not_depend_on_what_all_logits_have_in_common() {
    // Numbers of so few bits that the logits are exact.
    let states = Tensor::<Flex, 2>::from_data([[1.0, 0.0], [1.0, 1024.0]], &FlexDevice);
    let row = |token: usize| [(token * 131 % 1024) as f32 / 64.0, 1.0];
    let rows: Vec<f32> = (0..50).flat_map(row).collect();
    let weight = Tensor::from_data(TensorData::new(rows, [50, 2]), &FlexDevice);
    let found = numbers(tiled([states, weight], &[target(0, 3), target(1, 3)], 2, SMALL));
    assert_eq!(found[1].to_bits(), found[3].to_bits(), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_primitives_and_double_precision(
        positions in 0_usize..40,
        model in 1_usize..20,
        vocabulary in 1_usize..200,
        asked in prop::collection::vec((any::<Index>(), any::<Index>()), 0..60),
        size in 0.1_f32..8.0,
        tile in (1_usize..12, 1_usize..30),
    ) {
        let target = |(position, token): &(Index, Index)| {
            target(position.index(positions), token.index(vocabulary))
        };
        let targets =
            if positions == 0 { Vec::new() } else { asked.iter().map(target).collect() };
        let case = Case { positions, model, vocabulary, targets, size };
        agrees(&case, TileSize { positions: tile.0, tokens: tile.1 })?;
        agrees(&case, TileSize::of(vocabulary))?;
    }
}
