use super::*;
use crate::tracked::tests::{Fused, Primitives, close, numbers, wave};
use crate::{Stretch, Visibility, masked_softmax};
use burn::tensor::TensorData;
use burn::tensor::backend::AutodiffBackend;
use burn_flex::{Flex, FlexDevice};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    heads: Heads,
    lengths: Vec<usize>,
    window: Option<usize>,
    size: f32,
}

/// Rows one behind the other.
fn rows(lengths: &[usize]) -> Vec<Tree> {
    let mut end = 0;
    let row = |length: &usize| {
        end += length;
        Tree::from(end - length..end)
    };
    lengths.iter().map(row).collect()
}

#[test]
fn padding_is_left_alone_and_changes_nothing() {
    let heads = Heads { key_value_heads: 1, group: 2, head_dim: 3 };
    let case = Case { heads, lengths: vec![2, 70], window: None, size: 2.0 };
    let operands = operands::<Fused>(&case).map(Tensor::require_grad);
    let close_up = fused(operands.clone(), &case);
    let weights = wave::<Fused, 2>(close_up.dims(), 0.7, 1.0);
    let expected = (close_up.clone() * weights.clone()).sum().backward();
    // Three tokens of padding between the rows, and one behind them.
    let apart = operands.clone().map(|x| {
        let width = x.dims()[1];
        let noise = |count| wave::<Fused, 2>([count, width], 0.9, 3.0);
        let rows = [x.clone().narrow(0, 0, 2), noise(3), x.narrow(0, 2, 70), noise(1)];
        Tensor::cat(rows.to_vec(), 0)
    });
    let found =
        causal_attention(apart, &[], heads, [0..2, 5..75].map(Tree::from).into(), None).unwrap();
    assert!(numbers(found.clone().narrow(0, 2, 3)).iter().all(|x| x.abs() < f32::EPSILON));
    let rows = Tensor::cat(vec![found.clone().narrow(0, 0, 2), found.narrow(0, 5, 70)], 0);
    assert_eq!(numbers(rows.clone()), numbers(close_up));
    let gradients = (rows * weights).sum().backward();
    for operand in &operands {
        let [found, expected] =
            [&gradients, &expected].map(|all| numbers(operand.grad(all).unwrap()));
        assert_eq!(found, expected);
    }
}

/// Row by row, of burn's own operations.
fn expected<B: Backend>(operands: [Tensor<B, 2>; 3], case: &Case) -> Tensor<B, 2> {
    let Heads { key_value_heads, group, head_dim } = case.heads;
    let mut start = 0;
    let rows = case.lengths.iter().filter(|&&length| length > 0).map(|&length| {
        let [query, key, value] = operands.clone().map(|x| x.narrow(0, start, length));
        start += length;
        let apart = |x: Tensor<B, 2>, group| {
            let heads = x.reshape([length, key_value_heads, group, head_dim]);
            heads.permute([1, 2, 0, 3]).unsqueeze::<5>()
        };
        let scores = apart(query, group).matmul(apart(key, 1).swap_dims(3, 4));
        let visible = Visibility::new(vec![0], length, case.window);
        let weights = masked_softmax(vec![Stretch { scores, start: 0 }], &visible, 0).remove(0);
        let attended = weights.matmul(apart(value, 1)).permute([0, 3, 1, 2, 4]);
        attended.reshape([length, key_value_heads * group * head_dim])
    });
    Tensor::cat(rows.collect(), 0)
}

fn operands<B: Backend<Device = FlexDevice>>(case: &Case) -> [Tensor<B, 2>; 3] {
    let tokens: usize = case.lengths.iter().sum();
    let Heads { key_value_heads, head_dim, .. } = case.heads;
    let keys = [tokens, key_value_heads * head_dim];
    [
        wave([tokens, case.heads.queries() * head_dim], 0.37, case.size),
        wave(keys, 0.73, case.size),
        wave(keys, 0.11, 1.0),
    ]
}

/// The result and the gradients of the operands.
fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
    case: &Case,
    attend: impl Fn([Tensor<B, 2>; 3]) -> Tensor<B, 2>,
) -> [Vec<f32>; 4] {
    let operands = operands::<B>(case).map(Tensor::require_grad);
    let result = attend(operands.clone());
    let gradients = (result.clone() * wave::<B, 2>(result.dims(), 0.7, 1.0)).sum().backward();
    let [query, key, value] = operands.map(|x| numbers(x.grad(&gradients).unwrap()));
    [numbers(result), query, key, value]
}

fn fused<B: Backend>(operands: [Tensor<B, 2>; 3], case: &Case) -> Tensor<B, 2> {
    causal_attention(operands, &[], case.heads, rows(&case.lengths), case.window).unwrap()
}

fn agrees(case: &Case) -> Result<(), TestCaseError> {
    let expected = learned_numbers::<Primitives>(case, |operands| expected(operands, case));
    let found = learned_numbers::<Fused>(case, |operands| fused(operands, case));
    let read = numbers(fused::<Flex>(operands(case), case));
    prop_assert_eq!(&read, &found[0]);
    for (found, expected) in found.iter().zip(&expected) {
        prop_assert!(close(found, expected, 1e-5, case.size.max(1.0)));
    }
    Ok(())
}

#[test]
fn a_token_sees_itself_and_what_is_before_it_in_its_row() {
    let heads = Heads { key_value_heads: 1, group: 1, head_dim: 1 };
    let case = Case { heads, lengths: vec![2, 0, 1], window: None, size: 0.0 };
    let [query, key, _] = operands::<Flex>(&case);
    let value = Tensor::from_data([[1.0], [3.0], [7.0]], &FlexDevice);
    assert_eq!(numbers(fused([query, key, value], &case)), [1.0, 2.0, 7.0]);
}

#[test]
fn extreme_scores_neither_overflow_nor_vanish() {
    let heads = Heads { key_value_heads: 2, group: 2, head_dim: 3 };
    agrees(&Case { heads, lengths: vec![130, 1], window: None, size: 80.0 }).unwrap();
}

#[test]
fn other_backends_get_their_operands_back() {
    let heads = Heads { key_value_heads: 1, group: 1, head_dim: 2 };
    let case = Case { heads, lengths: vec![3], window: None, size: 1.0 };
    let operands = operands::<Primitives>(&case);
    let rows = rows(&case.lengths);
    let back = causal_attention(operands.clone(), &[], heads, rows.clone(), None).unwrap_err();
    assert_eq!(back.map(numbers), operands.map(numbers));
    // So does what learns behind a past.
    let operands = self::operands::<Fused>(&case);
    let past = [operands[1].clone(), operands[2].clone()];
    let back = causal_attention(operands.clone(), &[past], heads, rows, None);
    assert_eq!(back.unwrap_err().map(numbers), operands.map(numbers));
}

#[test]
fn only_long_rows_of_few_heads_are_cut_into_pieces() {
    let pieces = |key_value_heads, group, tokens: usize| {
        let heads = Heads { key_value_heads, group, head_dim: 3 };
        let rows = Vec::<Tree>::new().into();
        let attention = Attention { heads, rows, window: None, behind: 0 };
        attention.pieces_of(&Tree::from(5..5 + tokens)).len()
    };
    assert_eq!(pieces(1, 1, 0), 0);
    assert_eq!([pieces(4, 1, 128), pieces(1, 1, 1024), pieces(16, 8, 4096)], [1; 3]);
    assert_eq!([pieces(1, 1, 4096), pieces(8, 1, 4096), pieces(1, 8, 600)], [4, 2, 5]);
}

#[test]
fn a_row_in_pieces_learns_the_same_on_any_number_of_threads() {
    let heads = Heads { key_value_heads: 1, group: 8, head_dim: 3 };
    let case = Case { heads, lengths: vec![2, 600], window: None, size: 2.0 };
    agrees(&case).unwrap();
    agrees(&Case { window: Some(70), ..case.clone() }).unwrap();
    branching(&case, 300, &[200, 0, 100]).unwrap();
    let learned = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learned_numbers::<Fused>(&case, |operands| fused(operands, &case)))
    };
    let alone = learned(1);
    for threads in [2, 5] {
        assert_eq!(learned(threads), alone);
    }
}

/// Rows behind a past are as the ends of rows that begin with it.
fn behind(case: &Case, past: &[usize]) -> Result<(), TestCaseError> {
    let shared: usize = past.iter().sum();
    let whole = Case {
        lengths: case.lengths.iter().map(|length| shared + length).collect(),
        ..case.clone()
    };
    let [query, key, value] = operands::<Flex>(&whole);
    // The past of every row is that of the first.
    let alike = |x: &Tensor<Flex, 2>| {
        let [_, width] = x.dims();
        let numbers = numbers(x.clone());
        let mut at = 0;
        let rows = whole.lengths.iter().flat_map(|&length| {
            let own = &numbers[(at + shared) * width..(at + length) * width];
            at += length;
            [&numbers[..shared * width], own].concat()
        });
        let rows: Vec<f32> = rows.collect();
        Tensor::<Flex, 2>::from_data(TensorData::new(rows, x.dims()), &FlexDevice)
    };
    let [key, value] = [alike(&key), alike(&value)];
    let ends = |x: &Tensor<Flex, 2>| {
        let mut at = 0;
        let parts = whole.lengths.iter().map(|&length| {
            at += length;
            x.clone().narrow(0, at - length + shared, length - shared)
        });
        Tensor::cat(parts.collect(), 0)
    };
    let expected = ends(&fused([query.clone(), key.clone(), value.clone()], &whole));
    let mut at = 0;
    let stretches = past.iter().map(|&tokens| {
        at += tokens;
        [&key, &value].map(|x| x.clone().narrow(0, at - tokens, tokens))
    });
    let stretches: Vec<[Tensor<Flex, 2>; 2]> = stretches.collect();
    let own = [&query, &key, &value].map(ends);
    let rows = rows(&case.lengths);
    let found = causal_attention(own, &stretches, case.heads, rows, case.window).unwrap();
    prop_assert!(close(&numbers(found), &numbers(expected), 1e-5, 1.0));
    Ok(())
}

#[test]
fn a_window_may_reach_into_one_stretch_of_the_past_or_none() {
    let heads = Heads { key_value_heads: 1, group: 2, head_dim: 4 };
    for window in [None, Some(1), Some(3), Some(70), Some(130), Some(300)] {
        let case = Case { heads, lengths: vec![70, 1, 3], window, size: 2.0 };
        behind(&case, &[5, 60, 2]).unwrap();
    }
}

/// A stem of some tokens and branches of others, between two rows of their own.
fn branching(case: &Case, stem: usize, branches: &[usize]) -> Result<(), TestCaseError> {
    let alone = |length| Case { lengths: vec![length], ..case.clone() };
    let mut end = 2;
    let mut next = |length: usize| {
        end += length;
        end - length..end
    };
    let tree =
        Tree { stem: next(stem), branches: branches.iter().map(|&length| next(length)).collect() };
    let all = Case { lengths: vec![next(3).end], ..case.clone() };
    let last = all.lengths[0] - 3..all.lengths[0];
    // Every branch as the end of a row that begins with the stem.
    let apart = |operands: [Tensor<Primitives, 2>; 3]| {
        let rows = |ranges: &[&Range<usize>]| {
            operands.clone().map(|x| {
                let part = |range: &&Range<usize>| {
                    (!range.is_empty()).then(|| x.clone().narrow(0, range.start, range.len()))
                };
                Tensor::cat(ranges.iter().filter_map(part).collect(), 0)
            })
        };
        let mut parts = vec![expected(rows(&[&(0..2)]), &alone(2))];
        if stem > 0 {
            parts.push(expected(rows(&[&tree.stem]), &alone(stem)));
        }
        for branch in tree.branches.iter().filter(|branch| !branch.is_empty()) {
            let whole = rows(&[&tree.stem, branch]);
            let whole = expected(whole, &alone(stem + branch.len()));
            parts.push(whole.narrow(0, stem, branch.len()));
        }
        parts.push(expected(rows(&[&last]), &alone(3)));
        Tensor::cat(parts, 0)
    };
    let expected = learned_numbers::<Primitives>(&all, apart);
    let rows = vec![Tree::from(0..2), tree.clone(), Tree::from(last.clone())];
    let found = learned_numbers::<Fused>(&all, |operands| {
        causal_attention(operands, &[], case.heads, rows.clone(), case.window).unwrap()
    });
    for (found, expected) in found.iter().zip(&expected) {
        prop_assert!(close(found, expected, 1e-5, case.size.max(1.0)));
    }
    Ok(())
}

#[test]
fn a_window_may_reach_into_the_stem_or_not() {
    let heads = Heads { key_value_heads: 2, group: 2, head_dim: 4 };
    for window in [None, Some(1), Some(3), Some(70), Some(130), Some(300)] {
        let case = Case { heads, lengths: Vec::new(), window, size: 2.0 };
        branching(&case, 67, &[70, 0, 1, 3]).unwrap();
        branching(&case, 0, &[2, 5]).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_branch_is_as_the_end_of_a_row(
        key_value_heads in 1_usize..3,
        group in 1_usize..4,
        head_dim in 1_usize..20,
        stem in 0_usize..150,
        branches in prop::collection::vec(0_usize..100, 0..4),
        window in prop::option::of(1_usize..150),
    ) {
        let heads = Heads { key_value_heads, group, head_dim };
        let case = Case { heads, lengths: Vec::new(), window, size: 2.0 };
        branching(&case, stem, &branches)?;
    }

    #[test]
    fn agrees_with_primitives(
        key_value_heads in 1_usize..3,
        group in 1_usize..4,
        head_dim in 1_usize..20,
        lengths in prop::collection::vec(0_usize..150, 1..5),
        window in prop::option::of(1_usize..100),
    ) {
        let heads = Heads { key_value_heads, group, head_dim };
        let mut lengths = lengths;
        lengths.push(1);
        agrees(&Case { heads, lengths, window, size: 2.0 })?;
    }

    #[test]
    fn a_past_is_as_a_common_beginning(
        key_value_heads in 1_usize..3,
        group in 1_usize..4,
        head_dim in 1_usize..20,
        lengths in prop::collection::vec(1_usize..100, 1..4),
        past in prop::collection::vec(1_usize..80, 1..4),
        window in prop::option::of(1_usize..150),
    ) {
        let heads = Heads { key_value_heads, group, head_dim };
        behind(&Case { heads, lengths, window, size: 2.0 }, &past)?;
    }
}
