use super::*;
use crate::exact::{Exact, off};
use crate::exact_attention;
use crate::tracked::tests::{Fused, Primitives, close, numbers, wave};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, TensorData};
use burn_flex::{Flex, FlexDevice};
use proptest::prelude::*;

/// The greatest number of queries and keys; that of values is 1.
const SIZE: f32 = 2.0;

#[derive(Debug, Clone)]
struct Case {
    heads: Heads,
    rows: Vec<Tree>,
    /// Those of all rows, and padding.
    tokens: usize,
    /// The tokens of every stretch of the past.
    past: Vec<usize>,
    window: Option<usize>,
}

impl Case {
    /// Rows one behind the other.
    fn of_rows(heads: Heads, lengths: &[usize]) -> Self {
        let mut places = Places::default();
        let rows = lengths.iter().map(|&length| Tree::from(places.next(0, length))).collect();
        Self { heads, rows, tokens: places.end, past: Vec::new(), window: None }
    }

    /// A stem of some tokens and branches of others, between two rows of their own, and padding around them.
    fn branching(heads: Heads, stem: usize, branches: &[usize]) -> Self {
        let mut places = Places::default();
        let before = Tree::from(places.next(2, 2));
        let stem = places.next(0, stem);
        let branches = branches.iter().map(|&length| places.next(0, length)).collect();
        let behind = Tree::from(places.next(1, 3));
        let rows = vec![before, Tree { stem, branches }, behind];
        Self { heads, rows, tokens: places.end + 1, past: Vec::new(), window: None }
    }

    /// Whether no row has the token.
    fn is_padding(&self, token: usize) -> bool {
        !self.rows.iter().flat_map(Tree::parts).any(|part| part.contains(&token))
    }
}

/// Tokens one behind the other.
#[derive(Debug, Default)]
struct Places {
    end: usize,
}

impl Places {
    /// So many tokens behind a gap.
    fn next(&mut self, gap: usize, length: usize) -> Range<usize> {
        self.end += gap + length;
        self.end - length..self.end
    }
}

fn operands<B: Backend<Device = FlexDevice>>(case: &Case) -> [Tensor<B, 2>; 3] {
    let Heads { key_value_heads, head_dim, .. } = case.heads;
    let keys = [case.tokens, key_value_heads * head_dim];
    let queries = [case.tokens, case.heads.queries() * head_dim];
    [wave(queries, 0.37, SIZE), wave(keys, 0.73, SIZE), wave(keys, 0.11, 1.0)]
}

fn past<B: Backend<Device = FlexDevice>>(case: &Case) -> Vec<[Tensor<B, 2>; 2]> {
    let width = case.heads.key_value_heads * case.heads.head_dim;
    let mut salt = 0.4;
    let stretch = |&tokens: &usize| {
        salt += 0.17;
        [wave([tokens, width], salt, SIZE), wave([tokens, width], salt + 1.0, 1.0)]
    };
    case.past.iter().map(stretch).collect()
}

/// Of numbers of this type.
fn attended_as<B: Backend<Device = FlexDevice>>(
    case: &Case,
    operands: [Tensor<B, 2>; 3],
    dtype: DType,
) -> Tensor<B, 2> {
    let operands = operands.map(|x| x.cast(dtype));
    let past: Vec<[Tensor<B, 2>; 2]> =
        past(case).into_iter().map(|stretch| stretch.map(|x| x.cast(dtype))).collect();
    let rows = Rows::new(case.rows.clone());
    causal_attention(operands, &past, case.heads, &rows, case.window)
}

fn attended<B: Backend<Device = FlexDevice>>(
    case: &Case,
    operands: [Tensor<B, 2>; 3],
) -> Tensor<B, 2> {
    attended_as(case, operands, DType::F32)
}

/// What is given, and the gradients of the operands.
fn learned_from<B: AutodiffBackend<Device = FlexDevice>>(
    operands: [Tensor<B, 2>; 3],
    attend: impl Fn([Tensor<B, 2>; 3]) -> Tensor<B, 2>,
) -> [Vec<f32>; 4] {
    let operands = operands.map(Tensor::require_grad);
    let result = attend(operands.clone());
    let gradients = (result.clone() * wave::<B, 2>(result.dims(), 0.7, 1.0)).sum().backward();
    let [query, key, value] = operands.map(|x| numbers(x.grad(&gradients).unwrap()));
    [numbers(result), query, key, value]
}

fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(case: &Case) -> [Vec<f32>; 4] {
    learned_from::<B>(operands(case), |operands| attended(case, operands))
}

/// Of primitives, with scores that are computed again.
fn relearned_numbers(case: &Case) -> [Vec<f32>; 4] {
    learned_from::<Primitives>(operands(case), |operands| relearned(case, operands))
}

fn relearned(case: &Case, operands: [Tensor<Primitives, 2>; 3]) -> Tensor<Primitives, 2> {
    let rows = Rows::new(case.rows.clone());
    causal_attention_for_training(operands, case.heads, &rows, case.window)
}

/// Whether results and gradients are close, if no key and no query is greater than `size`: what is given and the gradients of
/// values are sums of numbers around 1, those of queries and keys of keys and queries.
fn all_close(found: &[Vec<f32>; 4], expected: &[Vec<f32>; 4], size: f32) -> bool {
    let floors = [1.0, size, size, 1.0];
    let mut all = found.iter().zip(expected).zip(floors);
    all.all(|((found, expected), floor)| close(found, expected, 1e-5, floor))
}

/// Fused and of primitives, with gradients and without, there in double precision too.
fn agrees(case: &Case) -> Result<(), TestCaseError> {
    let expected = learned_numbers::<Primitives>(case);
    let found = learned_numbers::<Fused>(case);
    prop_assert!(all_close(&found, &expected, SIZE));
    let read = numbers(attended::<Flex>(case, operands(case)));
    if case.past.is_empty() {
        prop_assert_eq!(&read, &found[0]);
        prop_assert!(all_close(&relearned_numbers(case), &expected, SIZE));
    }
    prop_assert!(close(&read, &expected[0], 1e-5, 1.0));
    // Numbers of 64 bits are left to primitives; what does not learn is there cut into blocks of queries.
    let double = numbers(attended_as::<Flex>(case, operands(case), DType::F64));
    prop_assert!(close(&read, &double, 1e-5, 1.0));
    Ok(())
}

const GROUPED: Heads = Heads { key_value_heads: 2, group: 2, head_dim: 4 };

/// No window, one of a token, and such as reach into one stretch before a row, into all, or beyond them.
const WINDOWS: [Option<usize>; 6] = [None, Some(1), Some(3), Some(70), Some(130), Some(300)];

fn sees_itself_and_what_is_before_it<B: Backend<Device = FlexDevice>>() {
    let heads = Heads { key_value_heads: 1, group: 1, head_dim: 1 };
    let case = Case::of_rows(heads, &[2, 0, 1]);
    let alike = || Tensor::<B, 2>::zeros([3, 1], &FlexDevice);
    let value = Tensor::from_data([[1.0], [3.0], [7.0]], &FlexDevice);
    assert_eq!(numbers(attended(&case, [alike(), alike(), value])), [1.0, 2.0, 7.0]);
}

#[test]
fn a_token_sees_itself_and_what_is_before_it_in_its_row() {
    sees_itself_and_what_is_before_it::<Flex>();
    sees_itself_and_what_is_before_it::<Primitives>();
}

type Attend<B> = fn(&Case, [Tensor<B, 2>; 3]) -> Tensor<B, 2>;

/// What is given and the gradients, with this number in all places of padding.
fn around_padding<B: AutodiffBackend<Device = FlexDevice>>(
    case: &Case,
    number: f32,
    attend: Attend<B>,
) -> [Vec<f32>; 4] {
    let noisy = operands::<B>(case).map(|x| {
        let shape = x.dims();
        let mut noisy = numbers(x);
        for token in (0..case.tokens).filter(|&token| case.is_padding(token)) {
            noisy[token * shape[1]..][..shape[1]].fill(number);
        }
        Tensor::<B, 2>::from_data(TensorData::new(noisy, shape), &FlexDevice)
    });
    learned_from::<B>(noisy, |operands| attend(case, operands))
}

fn padding_is_left_alone<B: AutodiffBackend<Device = FlexDevice>>(case: &Case, attend: Attend<B>) {
    let found = around_padding::<B>(case, 3.0, attend);
    assert_eq!(found, around_padding::<B>(case, -1000.0, attend));
    for numbers in &found {
        let width = numbers.len() / case.tokens;
        for (token, numbers) in numbers.chunks_exact(width).enumerate() {
            let zero = numbers.iter().all(|x| x.abs() < f32::MIN_POSITIVE);
            assert!(zero || !case.is_padding(token), "token {token}: {numbers:?}");
        }
    }
}

#[test]
fn padding_is_left_alone_and_changes_nothing() {
    // Rows with gaps of all sizes, and rows that are padded to one length.
    let apart = Case {
        rows: [0..2, 5..75, 75..76, 80..140].map(Tree::from).into(),
        tokens: 141,
        ..Case::of_rows(GROUPED, &[])
    };
    let padded = Case {
        rows: [0..3, 6..12, 12..12, 18..19].map(Tree::from).into(),
        tokens: 24,
        ..apart.clone()
    };
    for case in [apart, padded, Case::branching(GROUPED, 5, &[3, 4])] {
        padding_is_left_alone::<Fused>(&case, attended);
        padding_is_left_alone::<Primitives>(&case, attended);
        padding_is_left_alone::<Primitives>(&case, relearned);
        agrees(&case).unwrap();
    }
}

#[test]
fn nothing_is_computed_where_no_row_has_a_token() {
    for lengths in [vec![], vec![0], vec![0, 0]] {
        for tokens in [0, 3, 4] {
            let case = Case { tokens, ..Case::of_rows(GROUPED, &lengths) };
            let found = numbers(attended::<Flex>(&case, operands(&case)));
            assert_eq!(found, vec![0.0; tokens * 16]);
            let double = attended_as::<Flex>(&case, operands(&case), DType::F64);
            assert_eq!(numbers(double), found);
            for found in relearned_numbers(&case) {
                assert!(found.iter().all(|x| x.abs() < f32::MIN_POSITIVE), "{found:?}");
            }
        }
    }
}

#[test]
fn rows_of_a_token_see_themselves() {
    for lengths in [vec![1], vec![1, 1, 1], vec![1, 2, 1]] {
        let case = Case::of_rows(GROUPED, &lengths);
        agrees(&case).unwrap();
        agrees(&Case { past: vec![1, 3], ..case }).unwrap();
    }
}

/// Queries, keys and values. Scores of 10,000 above zero, below it, and both, with eighths between them: floats hold them
/// exactly.
fn extreme(case: &Case) -> [Vec<f32>; 3] {
    let Heads { key_value_heads, head_dim, .. } = case.heads;
    let mut queries = vec![0.0_f32; case.tokens * case.heads.queries() * head_dim];
    for (place, query) in queries.chunks_exact_mut(head_dim).enumerate() {
        query[0] = if place % 2 == 0 { 100.0 } else { -100.0 };
        query[1] = 1.0;
    }
    let mut keys = vec![0.0_f32; case.tokens * key_value_heads * head_dim];
    for (place, key) in keys.chunks_exact_mut(head_dim).enumerate() {
        let (token, head) = (place / key_value_heads, place % key_value_heads);
        key[0] = if head == 0 || token % 3 == 0 { 100.0 } else { -100.0 };
        key[1] = (token * 7 % 17) as f32 / 8.0;
    }
    let values = numbers(wave::<Flex, 1>([keys.len()], 0.11, 1.0));
    [queries, keys, values]
}

fn extreme_tensors<B: Backend<Device = FlexDevice>>(case: &Case) -> [Tensor<B, 2>; 3] {
    extreme(case).map(|x| {
        let shape = [case.tokens, x.len() / case.tokens];
        Tensor::<B, 2>::from_data(TensorData::new(x, shape), &FlexDevice)
    })
}

/// Of rows without branches, past or window, in double precision.
fn exact(case: &Case, [queries, keys, values]: &[Vec<f32>; 3]) -> Vec<Exact> {
    let Heads { key_value_heads, group, head_dim } = case.heads;
    let of_token = |row: &Range<usize>, token: usize, head: usize| {
        let numbers_of = |token: usize, heads: usize, head: usize| {
            let first = (token * heads + head) * head_dim;
            first..first + head_dim
        };
        let seen = (row.start..=token).map(|slot| {
            let own = numbers_of(slot, key_value_heads, head / group);
            (&keys[own.clone()], &values[own])
        });
        let seen: Vec<(&[f32], &[f32])> = seen.collect();
        let query = &queries[numbers_of(token, case.heads.queries(), head)];
        exact_attention::attended(query, &seen, 1.0)
    };
    let mut found = Vec::new();
    for row in case.rows.iter().map(|tree| &tree.stem) {
        for token in row.clone() {
            found.extend((0..case.heads.queries()).flat_map(|head| of_token(row, token, head)));
        }
    }
    found
}

#[test]
fn extreme_scores_neither_overflow_nor_vanish() {
    let case = Case::of_rows(GROUPED, &[130, 1, 100]);
    let expected = exact(&case, &extreme(&case));
    let read = numbers(attended::<Flex>(&case, extreme_tensors(&case)));
    assert_eq!(off(&read, &expected), None);
    let double = attended_as::<Flex>(&case, extreme_tensors(&case), DType::F64);
    assert_eq!(off(&numbers(double), &expected), None);
    let primitives =
        learned_from::<Primitives>(extreme_tensors(&case), |operands| attended(&case, operands));
    assert_eq!(off(&primitives[0], &expected), None);
    let fused = learned_from::<Fused>(extreme_tensors(&case), |operands| attended(&case, operands));
    assert_eq!(fused[0], read);
    assert!(all_close(&fused, &primitives, 100.0));
    let again = learned_from(extreme_tensors(&case), |operands| relearned(&case, operands));
    assert!(all_close(&again, &primitives, 100.0));
}

/// Few rows behind a long past: a head is the same to the bit whether a thread takes it alone or the whole block.
#[test]
fn heads_alone_are_as_heads_together() {
    let case = Case { past: vec![600, 300], ..Case::of_rows(GROUPED, &[70, 0, 3]) };
    for window in [None, Some(650)] {
        let case = Case { window, ..case.clone() };
        agrees(&case).unwrap();
        let rows = case.rows.clone().into();
        let attention = Attention { heads: GROUPED, rows, window, behind: 900 };
        let held = operands::<Flex>(&case).map(|x| in_order(x).unwrap());
        let past: Vec<[FlexTensor; 2]> = past::<Flex>(&case)
            .into_iter()
            .map(|stretch| stretch.map(|x| in_order(x).unwrap()))
            .collect();
        let past: Vec<Stretch<'_>> = past.iter().map(|stretch| attention.past(stretch)).collect();
        let blocks: Vec<Block> =
            attention.rows.iter().flat_map(|tree| attention.blocks_of(tree)).collect();
        assert!(attention.worth_a_thread_a_head(&blocks));
        let [mut alone, mut together] = [0; 2].map(|_| vec![0.0; 73 * 16]);
        attention.by_heads(attention.sides(&held), &past, &blocks, &mut alone);
        attention.by_blocks(attention.sides(&held), &past, blocks, &mut together);
        assert_eq!(alone, together);
    }
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
    let case = Case::of_rows(heads, &[2, 600]);
    agrees(&case).unwrap();
    agrees(&Case { window: Some(70), ..case.clone() }).unwrap();
    agrees(&Case::branching(heads, 300, &[200, 0, 100])).unwrap();
    let learned = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| learned_numbers::<Fused>(&case))
    };
    let alone = learned(1);
    for threads in [2, 5] {
        assert_eq!(learned(threads), alone);
    }
}

#[test]
fn a_window_may_reach_into_the_past_or_not() {
    for window in WINDOWS {
        let case = Case::of_rows(GROUPED, &[70, 1, 3]);
        agrees(&Case { past: vec![5, 60, 2], window, ..case }).unwrap();
    }
}

#[test]
fn a_window_may_reach_into_the_stem_or_not() {
    for window in WINDOWS {
        for (stem, branches) in [(67, &[70, 0, 1, 3][..]), (0, &[2, 5][..])] {
            let case = Case::branching(GROUPED, stem, branches);
            agrees(&Case { window, ..case.clone() }).unwrap();
            agrees(&Case { window, past: vec![5, 60], ..case }).unwrap();
        }
    }
}

/// Rows behind a past are as the branches of a stem, and teach the past as much.
fn a_past_is_as_a_stem<B: AutodiffBackend<Device = FlexDevice>>(window: Option<usize>) {
    let stem = Tree { stem: 0..67, branches: vec![67..137, 137..138] };
    let whole = Case { rows: vec![stem], tokens: 138, window, ..Case::of_rows(GROUPED, &[]) };
    let own = Rows::new(vec![Tree::from(0..70), Tree::from(70..71)]);
    let expected = learned_from::<B>(operands(&whole), |x| attended(&whole, x).narrow(0, 67, 71));
    let found = learned_from::<B>(operands(&whole), |x| {
        let stretch = |first: usize, tokens: usize| {
            [&x[1], &x[2]].map(|x| x.clone().narrow(0, first, tokens))
        };
        let past = [stretch(0, 5), stretch(5, 62)];
        causal_attention(x.clone().map(|x| x.narrow(0, 67, 71)), &past, GROUPED, &own, window)
    });
    assert!(all_close(&found, &expected, SIZE));
}

#[test]
fn what_learns_behind_a_past_learns_as_a_branch_does() {
    for window in WINDOWS {
        a_past_is_as_a_stem::<Fused>(window);
        a_past_is_as_a_stem::<Primitives>(window);
    }
}

fn attended_at<B: Backend<Device = FlexDevice>>(rows: &[Range<usize>], window: Option<usize>) {
    let rows = rows.iter().cloned().map(Tree::from).collect();
    let case = Case { rows, tokens: 5, window, ..Case::of_rows(GROUPED, &[]) };
    attended::<B>(&case, operands(&case));
}

#[test]
#[should_panic(expected = "rows ascend and lie within the tokens")]
fn rows_lie_within_the_tokens() {
    attended_at::<Flex>(&[0..2, 2..6], None);
}

#[test]
#[should_panic(expected = "rows ascend and lie within the tokens")]
fn rows_of_primitives_lie_within_the_tokens() {
    attended_at::<Primitives>(&[0..2, 1..5], None);
}

#[test]
#[should_panic(expected = "a token sees itself")]
fn a_window_of_primitives_has_a_token() {
    attended_at::<Primitives>(&[0..2, 2..5], Some(0));
}

/// Rows, of which the last has a token: the gap before each, the tokens of its stem, and of every branch.
fn trees() -> impl Strategy<Value = (Vec<Tree>, usize)> {
    let branches = || prop::collection::vec(0_usize..80, 0..3);
    let trees = prop::collection::vec((0_usize..3, 0_usize..120, branches()), 0..4);
    (trees, 1_usize..120, branches(), 0_usize..3).prop_map(|(mut trees, stem, branches, behind)| {
        trees.push((0, stem, branches));
        let mut places = Places::default();
        let tree = |(gap, stem, branches): (usize, usize, Vec<usize>)| Tree {
            stem: places.next(gap, stem),
            branches: branches.into_iter().map(|own| places.next(0, own)).collect(),
        };
        let trees: Vec<Tree> = trees.into_iter().map(tree).collect();
        (trees, places.end + behind)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_primitives(
        key_value_heads in 1_usize..3,
        group in 1_usize..4,
        head_dim in 1_usize..20,
        (rows, tokens) in trees(),
        window in prop::option::of(1_usize..150),
    ) {
        let heads = Heads { key_value_heads, group, head_dim };
        agrees(&Case { heads, rows, tokens, past: Vec::new(), window })?;
    }

    #[test]
    fn agrees_with_primitives_behind_a_past(
        key_value_heads in 1_usize..3,
        group in 1_usize..4,
        head_dim in 1_usize..20,
        (rows, tokens) in trees(),
        past in prop::collection::vec(1_usize..80, 1..4),
        window in prop::option::of(1_usize..150),
    ) {
        let heads = Heads { key_value_heads, group, head_dim };
        agrees(&Case { heads, rows, tokens, past, window })?;
    }
}
