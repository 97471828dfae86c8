//! Losses by hand, and against double precision.

use super::*;
use crate::test_support::assert_close;
use burn::backend::Autodiff;
use burn_flex::Flex;
use ndarray::{Array1, Zip};
use proptest::prelude::*;

fn tensor<B: Backend>(row: &[f32]) -> Tensor<B, 1> {
    Tensor::from_floats(row, &B::Device::default())
}

fn number(loss: Tensor<Flex, 1>) -> f32 {
    loss.into_scalar()
}

fn even(tokens: usize) -> Vec<f32> {
    vec![1.0 / tokens as f32; tokens]
}

fn clip(clip: f32) -> Clip {
    Clip { low: clip, high: clip, dual: None }
}

fn policy_with(new: &[f32], old: &[f32], advantages: &[f32], clip: Clip) -> f32 {
    let weights = tensor(&even(new.len()));
    number(policy_loss(tensor(new), tensor(old), tensor(advantages), weights, clip))
}

fn policy(new: &[f32], old: &[f32], advantages: &[f32], range: f32) -> f32 {
    policy_with(new, old, advantages, clip(range))
}

fn value(new: &[f32], old: &[f32], returns: &[f32], range: f32) -> f32 {
    let weights = tensor(&even(new.len()));
    number(value_loss(tensor(new), tensor(old), tensor(returns), weights, range))
}

#[test]
fn the_sides_may_be_clipped_apart() {
    let ratios = [1.5_f32, 0.5].map(f32::ln);
    let sides = Clip { low: 0.1, high: 0.3, dual: None };
    // -1.3 and 0.9, both clipped.
    let found = policy_with(&ratios, &[0.0; 2], &[1.0, -1.0], sides);
    assert_close(&[found], &[f32::midpoint(-1.3, 0.9)], 1e-6);
}

#[test]
fn a_dual_clip_bounds_the_cost_of_bad_tokens_alone() {
    let ratios = [5.0_f32, 5.0, 2.0].map(f32::ln);
    let dual = Clip { dual: Some(3.0), ..clip(0.2) };
    // 5 is cut to 3; a good token stays at -1.2; 2 is below 3.
    let found = policy_with(&ratios, &[0.0; 3], &[-1.0, 1.0, -1.0], dual);
    assert_close(&[found], &[(3.0 - 1.2 + 2.0) / 3.0], 1e-6);
}

#[test]
fn ratios_do_not_overflow() {
    let found = policy_with(&[0.0], &[-500.0], &[-1.0], clip(0.2));
    assert!(found.is_finite() && found > 1e8, "{found}");
}

#[test]
fn kl_by_hand() {
    let kl = |estimator, clamp| {
        let weights = tensor(&[0.5, 0.5]);
        number(kl_loss(tensor(&[-1.0, -1.0]), tensor(&[-1.5, -0.5]), weights, estimator, clamp))
    };
    assert_close(&[kl(KlEstimator::K1, None)], &[0.0], 1e-6);
    assert_close(&[kl(KlEstimator::K2, None)], &[0.125], 1e-6);
    assert_close(&[kl(KlEstimator::K3, None)], &[f32::midpoint(0.106_530_66, 0.148_721_27)], 1e-6);
    assert_close(&[kl(KlEstimator::K1, Some(0.1))], &[0.0], 1e-6);
    assert_close(&[kl(KlEstimator::K2, Some(0.1))], &[0.1], 1e-6);
}

#[test]
fn importance_weights_by_hand() {
    let found = importance_weights(&[-1.0, -1.0, 0.0], &[-1.0, -1.5, -9.0], 2.0);
    assert_close(&found, &[1.0, 0.5_f32.exp(), 2.0], 1e-6);
}

#[test]
fn importance_weights_do_not_overflow() {
    let found = importance_weights(&[0.0, -500.0], &[-500.0, 0.0], f32::MAX);
    assert!(found[0] > 1e8 && found[0] < 1e9, "{found:?}");
    assert!(found[1] > 0.0 && found[1] < 1e-8, "{found:?}");
}

#[test]
fn policy_by_hand() {
    let ratios = [1.5_f32, 1.5, 0.5, 0.5, 1.1].map(f32::ln);
    let advantages = [1.0, -1.0, 1.0, -1.0, 2.0];
    // Per token: -1.2 (clipped), 1.5 (the worse one counts), -0.5, 0.8 (clipped), -2.2.
    let found = policy(&ratios, &[0.0; 5], &advantages, 0.2);
    assert_close(&[found], &[(-1.2 + 1.5 - 0.5 + 0.8 - 2.2) / 5.0], 1e-6);
}

#[test]
fn value_by_hand() {
    // Move +0.5 towards a far return: clipped to 0.2, (0.2 - 1)^2 = 0.64 counts over 0.25.
    // Move +0.1: no clipping, (0.1 - 1)^2 = 0.81. Move +0.5 away from -1: 2.25 counts over 1.44.
    let found = value(&[0.5, 0.1, 0.5], &[0.0; 3], &[1.0, 1.0, -1.0], 0.2);
    assert_close(&[found], &[0.5 * (0.64 + 0.81 + 2.25) / 3.0], 1e-6);
}

#[test]
fn entropy_by_hand() {
    assert_close(&[number(mean_entropy(tensor(&[0.5, 1.5]), tensor(&[0.25; 2])))], &[0.5], 1e-6);
}

#[test]
fn the_first_update_has_ratio_one() {
    let log_probs = [-0.3, -4.0, -1.7];
    let advantages = [0.5, -2.0, 0.9];
    let found = policy(&log_probs, &log_probs, &advantages, 0.2);
    assert_close(&[found], &[-(0.5 - 2.0 + 0.9) / 3.0], 1e-6);
}

#[test]
fn no_gradient_where_the_ratio_is_clipped() {
    type B = Autodiff<Flex>;
    let new = tensor::<B>(&[0.5, 0.5, -0.5, 0.0]).require_grad();
    let old = tensor(&[0.0; 4]);
    let advantages = tensor(&[1.0, -1.0, -1.0, 3.0]);
    let loss = policy_loss(new.clone(), old, advantages, tensor(&[0.25; 4]), clip(0.2));
    let gradient = new.grad(&loss.backward()).unwrap().into_data().to_vec::<f32>().unwrap();
    // d(-A ratio)/d new = -A ratio.
    assert_close(&gradient, &[0.0, 0.5_f32.exp() / 4.0, 0.0, -0.75], 1e-6);
}

#[test]
fn no_gradient_where_the_value_has_moved_far_enough() {
    type B = Autodiff<Flex>;
    let new = tensor::<B>(&[0.5, 0.1, 0.5]).require_grad();
    let (returns, weights) = (tensor(&[1.0, 1.0, -1.0]), tensor(&even(3)));
    let loss = value_loss(new.clone(), tensor(&[0.0; 3]), returns, weights, 0.2);
    let gradient = new.grad(&loss.backward()).unwrap().into_data().to_vec::<f32>().unwrap();
    assert_close(&gradient, &[0.0, -0.9 / 3.0, 1.5 / 3.0], 1e-6);
}

/// A token: log-prob or value, the same before, advantage or return, and weight in the loss.
type Token = (f32, f32, f32, f32);

type Graph = Autodiff<Flex>;

fn tokens() -> impl Strategy<Value = Vec<Token>> {
    prop::collection::vec((-3.0_f32..0.0, -3.0_f32..0.0, -2.0_f32..2.0, 0.0_f32..0.1), 2..60)
}

fn columns(tokens: &[Token]) -> [Vec<f32>; 4] {
    let column = |of: fn(&Token) -> f32| -> Vec<f32> { tokens.iter().map(of).collect() };
    [
        column(|token| token.0),
        column(|token| token.1),
        column(|token| token.2),
        column(|token| token.3),
    ]
}

fn wide(row: &[f32]) -> Array1<f64> {
    row.iter().copied().map(f64::from).collect()
}

/// Checks that a loss is the weighted sum of what its tokens cost, however they are cut or ordered and whatever of weight 0 is
/// among them, and that its gradient is the slope of their costs.
///
/// `loss` is given the columns of [`Token`], `costs` the first of them.
fn check(
    tokens: &[Token],
    loss: impl Fn([Tensor<Graph, 1>; 4]) -> Tensor<Graph, 1>,
    costs: impl Fn(&Array1<f64>) -> Array1<f64>,
) -> Result<(), TestCaseError> {
    let [first, _, _, weights] = columns(tokens).map(|column| wide(&column));
    let each = costs(&first);
    let expected = each.dot(&weights);
    let tolerance = 1e-5 * each.mapv(f64::abs).dot(&weights).max(1.0);

    let of = |tokens: &[Token]| {
        let tensors = columns(tokens).map(|column| tensor::<Graph>(&column));
        number(loss(tensors).inner())
    };
    let (left, right) = tokens.split_at(tokens.len() / 2);
    let reversed: Vec<Token> = tokens.iter().rev().copied().collect();
    let mut more = tokens.to_vec();
    more.extend([(-0.5, -2.5, 1.5, 0.0), (-2.5, -0.5, -1.5, 0.0)]);
    for found in [of(tokens), of(left) + of(right), of(&reversed), of(&more)] {
        prop_assert!((f64::from(found) - expected).abs() < tolerance, "{found} is not {expected}");
    }

    let mut tensors = columns(tokens).map(|column| tensor::<Graph>(&column));
    let leaf = tensors[0].clone().require_grad();
    tensors[0] = leaf.clone();
    let gradient =
        leaf.grad(&loss(tensors).backward()).unwrap().into_data().to_vec::<f32>().unwrap();
    for ((found, slope), weight) in gradient.into_iter().zip(slopes(&costs, &first)).zip(&weights) {
        // At a kink either slope will do.
        let Some(slope) = slope else { continue };
        let tolerance = 1e-3 * (1.0 + slope.abs()) * weight + 1e-6;
        let expected = weight * slope;
        prop_assert!((f64::from(found) - expected).abs() < tolerance, "{found} is not {expected}");
    }
    Ok(())
}

/// The slope of what each token costs, by differences to both sides; none where these are not the same.
fn slopes(costs: impl Fn(&Array1<f64>) -> Array1<f64>, at: &Array1<f64>) -> Vec<Option<f64>> {
    const STEP: f64 = 1e-5;
    let (below, here, above) = (costs(&(at - STEP)), costs(at), costs(&(at + STEP)));
    Zip::from(&below)
        .and(&here)
        .and(&above)
        .map_collect(|below, here, above| {
            let (left, right) = ((here - below) / STEP, (above - here) / STEP);
            let slope = f64::midpoint(left, right);
            ((left - right).abs() < 1e-3 * (1.0 + slope.abs())).then_some(slope)
        })
        .to_vec()
}

/// The objectives of arXiv 1707.06347 and 1912.09729, which are to be made large: `min(r A, clip(r) A)`, and where `A < 0`
/// no less than `dual A`.
fn policy_costs(
    new: &Array1<f64>,
    old: &Array1<f64>,
    advantages: &Array1<f64>,
    clip: Clip,
) -> Array1<f64> {
    let (low, high) = (1.0 - f64::from(clip.low), 1.0 + f64::from(clip.high));
    let ratios = new.exp() / old.exp();
    Zip::from(&ratios).and(advantages).map_collect(|&ratio, &advantage| {
        let objective = (ratio * advantage).min(ratio.clamp(low, high) * advantage);
        match clip.dual {
            Some(dual) if advantage < 0.0 => -objective.max(f64::from(dual) * advantage),
            _ => -objective,
        }
    })
}

fn value_costs(
    values: &Array1<f64>,
    old: &Array1<f64>,
    returns: &Array1<f64>,
    clip: f64,
) -> Array1<f64> {
    Zip::from(values).and(old).and(returns).map_collect(|value, old, target| {
        let kept = value.clamp(old - clip, old + clip);
        (value - target).powi(2).max((kept - target).powi(2)) / 2.0
    })
}

/// In terms of the ratio of the reference and the policy.
fn kl_costs(
    new: &Array1<f64>,
    reference: &Array1<f64>,
    estimator: KlEstimator,
    clamp: Option<f32>,
) -> Array1<f64> {
    let ratios = reference.exp() / new.exp();
    let limit = clamp.map_or(f64::INFINITY, f64::from);
    let kl = match estimator {
        KlEstimator::K1 => -ratios.ln(),
        KlEstimator::K2 => ratios.ln().powi(2) / 2.0,
        KlEstimator::K3 => &ratios - 1.0 - ratios.ln(),
    };
    kl.clamp(-limit, limit)
}

proptest! {
    #[test]
    fn the_policy_loss_agrees_with_f64(
        tokens in tokens(),
        low in 0.01_f32..0.9,
        high in 0.01_f32..0.9,
        dual in prop::option::of(1.01_f32..4.0),
    ) {
        let clip = Clip { low, high, dual };
        let [_, old, advantages, _] = columns(&tokens).map(|column| wide(&column));
        check(
            &tokens,
            |[new, old, advantages, weights]| policy_loss(new, old, advantages, weights, clip),
            |new| policy_costs(new, &old, &advantages, clip),
        )?;
    }

    #[test]
    fn the_value_loss_agrees_with_f64(tokens in tokens(), clip in 0.05_f32..2.0) {
        let [_, old, returns, _] = columns(&tokens).map(|column| wide(&column));
        check(
            &tokens,
            |[values, old, returns, weights]| value_loss(values, old, returns, weights, clip),
            |values| value_costs(values, &old, &returns, f64::from(clip)),
        )?;
    }

    #[test]
    fn the_kl_loss_agrees_with_f64(
        tokens in tokens(),
        estimator in prop::sample::select(vec![KlEstimator::K1, KlEstimator::K2, KlEstimator::K3]),
        clamp in prop::option::of(0.05_f32..3.0),
    ) {
        let [_, reference, _, _] = columns(&tokens).map(|column| wide(&column));
        check(
            &tokens,
            |[new, reference, _, weights]| kl_loss(new, reference, weights, estimator, clamp),
            |new| kl_costs(new, &reference, estimator, clamp),
        )?;
    }

    #[test]
    fn the_mean_entropy_agrees_with_f64(tokens in tokens()) {
        check(
            &tokens,
            |[log_probs, _, _, weights]| mean_entropy(-log_probs, weights),
            |log_probs| -log_probs,
        )?;
    }

    /// Whatever the bounds: they bound how far a step goes, not where it goes.
    #[test]
    fn ratio_one_costs_what_the_advantage_says(
        tokens in tokens(),
        low in 0.01_f32..0.9,
        high in 0.01_f32..0.9,
        dual in prop::option::of(1.01_f32..4.0),
    ) {
        let [log_probs, _, advantages, _] = columns(&tokens);
        let found = policy_with(&log_probs, &log_probs, &advantages, Clip { low, high, dual });
        let expected = -wide(&advantages).mean().unwrap();
        prop_assert!((f64::from(found) - expected).abs() < 1e-5, "{found} is not {expected}");
    }

    #[test]
    fn tighter_bounds_cost_more_and_a_dual_clip_less(
        tokens in tokens(),
        low in 0.01_f32..0.4,
        high in 0.01_f32..0.4,
        wider in 0.0_f32..0.4,
        dual in 1.01_f32..4.0,
    ) {
        let [new, old, advantages, _] = columns(&tokens);
        let cost = |advantages: &[f32], low, high, dual| {
            policy_with(&new, &old, advantages, Clip { low, high, dual })
        };
        let tight = cost(&advantages, low, high, None);
        let rounding = 1e-5 * tight.abs().max(1.0);
        prop_assert!(cost(&advantages, low + wider, high, None) <= tight + rounding);
        prop_assert!(cost(&advantages, low, high + wider, None) <= tight + rounding);
        prop_assert!(cost(&advantages, low, high, Some(dual)) <= tight + rounding);
        // Good tokens do not see it.
        let good: Vec<f32> = advantages.iter().map(|advantage| advantage.abs()).collect();
        let [without, with] = [None, Some(dual)].map(|dual| cost(&good, low, high, dual));
        prop_assert!((without - with).abs() <= rounding, "{without} {with}");
    }

    #[test]
    fn importance_weights_agree_with_f64(
        pairs in prop::collection::vec((-20.0_f32..0.0, -20.0_f32..0.0), 1..60),
        cap in 0.1_f32..10.0,
    ) {
        let (trainer, engine): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let found = importance_weights(&trainer, &engine, cap);
        let expected = (wide(&trainer).exp() / wide(&engine).exp()).clamp(0.0, f64::from(cap));
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((f64::from(*found) - expected).abs() <= 1e-6 * expected);
            prop_assert!(*found > 0.0 && *found <= cap);
        }
        // A cap cuts and does nothing else; without a mismatch there is nothing to correct.
        let free = importance_weights(&trainer, &engine, f32::INFINITY);
        prop_assert_eq!(&found, &free.iter().map(|weight| weight.min(cap)).collect::<Vec<_>>());
        let same = importance_weights(&trainer, &trainer, cap);
        prop_assert_eq!(same, vec![cap.min(1.0); trainer.len()]);
        let reversed = |row: &[f32]| row.iter().rev().copied().collect::<Vec<_>>();
        let back = importance_weights(&reversed(&trainer), &reversed(&engine), cap);
        prop_assert_eq!(reversed(&back), found);
    }
}
