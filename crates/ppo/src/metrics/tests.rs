//! Metrics by hand, and against double precision.

use super::*;
use dialogue::Dialogue;
use ndarray::{Array1, Zip};
use proptest::prelude::*;

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn explained_variance_by_hand() {
    let returns = [vec![1.0, 2.0], vec![3.0]];
    assert_near(explained_variance(&[vec![1.0, 2.0], vec![3.0]], &returns), 1.0);
    // A constant offset is not an error of the variance.
    assert_near(explained_variance(&[vec![0.0, 1.0], vec![2.0]], &returns), 1.0);
    assert_near(explained_variance(&[vec![0.0, 0.0], vec![0.0]], &returns), 0.0);
    // Errors 0, 0, 1: variance 2/9 against 2/3.
    assert_near(explained_variance(&[vec![1.0, 2.0], vec![2.0]], &returns), 2.0 / 3.0);
    assert_near(explained_variance(&[vec![1.0]], &[vec![4.0]]), 0.0);
}

#[test]
fn approximate_kl_by_hand() {
    assert_near(approximate_kl(&[-1.0, -2.0], &[-1.5, -1.0]), 0.5 * (0.25 + 1.0) / 2.0);
    assert_near(approximate_kl(&[], &[]), 0.0);
}

#[test]
fn only_moves_that_teach_nothing_count_as_clipped() {
    let new = [1.5_f32, 1.5, 0.5, 0.5, 1.1].map(f32::ln);
    let advantages = [1.0, -1.0, 1.0, -1.0, 1.0];
    let fraction = |dual| {
        let clip = Clip { low: 0.2, high: 0.2, dual };
        clip_fraction(&new, &[0.0; 5], &advantages, clip)
    };
    assert_near(fraction(None), 0.4);
    // The second token, of a negative advantage, has grown 1.5 times as likely.
    assert_near(fraction(Some(1.6)), 0.4);
    assert_near(fraction(Some(1.4)), 0.6);
}

#[test]
#[should_panic(expected = "one value and one return a slot")]
fn values_are_as_many_as_returns() {
    // As many numbers in all.
    explained_variance(&[vec![1.0, 2.0], vec![3.0]], &[vec![1.0], vec![2.0, 3.0]]);
}

#[test]
#[should_panic(expected = "one log-prob a token from each policy")]
fn approximate_kl_is_of_the_same_tokens() {
    approximate_kl(&[-1.0, -2.0], &[-1.5]);
}

#[test]
#[should_panic(expected = "one log-prob a token from each policy")]
fn clipping_is_of_the_same_tokens() {
    clip_fraction(&[-1.0], &[-1.5, -2.0], &[1.0], Clip { low: 0.2, high: 0.2, dual: None });
}

#[test]
#[should_panic(expected = "one advantage a token")]
fn clipping_needs_the_advantage_of_every_token() {
    clip_fraction(&[-1.0, -2.0], &[-1.5, -2.0], &[1.0], Clip { low: 0.2, high: 0.2, dual: None });
}

#[test]
fn rollouts_by_hand() {
    let reply = |tokens, stopped, score, kl| ScoredReply {
        prompt: Dialogue::from_user("q"),
        reply: "a".to_owned(),
        tokens,
        stopped,
        score,
        kl,
    };
    let replies = [reply(3, StopReason::Stop, 1.0, 0.5), reply(1, StopReason::Length, -1.0, 1.5)];
    let estimates = Estimates {
        values: vec![vec![0.0; 3], vec![0.0]],
        entropies: vec![vec![1.0, 2.0, 3.0], vec![4.0]],
        log_probs: vec![vec![-1.0, -1.0, -1.0], vec![-2.0]],
        engine_log_probs: vec![vec![-1.0, -1.0, -1.0], vec![-1.5]],
        ..Estimates::default()
    };
    let experience = Experience {
        reply_rewards: vec![1.5, -2.0],
        // As a group leaves them.
        rewards: vec![vec![0.0, 0.5, 1.25], vec![-1.75]],
        returns: vec![vec![1.0; 3], vec![0.0]],
        advantages: vec![],
    };
    let found = RolloutMetrics::new(&replies, &[&[1, 2, 3], &[4]], &estimates, &experience, 0.1);
    let expected = RolloutMetrics {
        score_mean: 0.0,
        score_std: 1.0,
        reward_mean: -0.25,
        kl_per_sequence: 1.0,
        kl_per_token: 0.5,
        kl_coefficient: 0.1,
        entropy: 2.5,
        reply_tokens: 2.0,
        ended_share: 0.5,
        repeated_4grams: 0.0,
        engine_gap_mean: 0.125,
        engine_gap_max: 0.5,
        // d = engine - trainer = 0.5: exp(-0.5) - 1 + 0.5, over four tokens.
        engine_kl: f64::from((-0.5_f32).exp_m1() + 0.5) / 4.0,
        explained_variance: 0.0,
    };
    assert_eq!(found, expected);
    assert_near(sequence_kl(&[-1.0, -2.0], &[-1.5, -4.0]), 2.5);
}

fn wide(row: &[f32]) -> Array1<f64> {
    row.iter().copied().map(f64::from).collect()
}

/// Numbers whose sums are exact.
fn sixteenths() -> impl Strategy<Value = f32> {
    (-160_i16..160).prop_map(|number| f32::from(number) / 16.0)
}

/// Log-probs now and before.
fn log_probs() -> impl Strategy<Value = Vec<(f32, f32)>> {
    prop::collection::vec((-6.0_f32..0.0, -6.0_f32..0.0), 2..60)
}

proptest! {
    #[test]
    fn explained_variance_agrees_with_ndarray(
        rows in prop::collection::vec(
            prop::collection::vec((sixteenths(), sixteenths()), 1..10), 2..8,
        ),
        shift in -4_i8..4,
    ) {
        let column = |of: fn(&(f32, f32)) -> f32| -> Vec<Vec<f32>> {
            rows.iter().map(|row| row.iter().map(of).collect()).collect()
        };
        let (values, returns) = (column(|slot| slot.0), column(|slot| slot.1));
        let (v, r) = (wide(&values.concat()), wide(&returns.concat()));
        prop_assume!(r.var(0.0) > 0.0);
        let expected = 1.0 - (&r - &v).var(0.0) / r.var(0.0);
        let close = |found: f64, expected: f64| {
            (found - expected).abs() < 1e-9 * expected.abs().max(1.0)
        };
        let found = explained_variance(&values, &returns);
        prop_assert!(close(found, expected), "{found} is not {expected}");
        prop_assert!(found <= 1.0);

        // Perfect values explain all, a constant nothing; an offset is no error of the variance.
        let change = |change: &dyn Fn(f32) -> f32| -> Vec<Vec<f32>> {
            values.iter().map(|row| row.iter().map(|&value| change(value)).collect()).collect()
        };
        let shift = f32::from(shift);
        prop_assert!(close(explained_variance(&returns, &returns), 1.0));
        prop_assert!(close(explained_variance(&change(&|_| shift), &returns), 0.0));
        let moved = change(&|value| value + shift);
        prop_assert!(close(explained_variance(&moved, &returns), expected));

        // Neither the order of the rows nor their cut.
        let turned = |rows: &[Vec<f32>]| rows.iter().rev().cloned().collect::<Vec<_>>();
        prop_assert!(close(explained_variance(&turned(&values), &turned(&returns)), expected));
        let whole = explained_variance(&[values.concat()], &[returns.concat()]);
        prop_assert!(close(whole, expected));
    }

    #[test]
    fn equal_returns_have_no_variance_to_explain(
        values in prop::collection::vec(-9.0_f32..9.0, 1..60),
        returned in -9.0_f32..9.0,
    ) {
        let returns = [vec![returned; values.len()]];
        prop_assert!(explained_variance(&[values], &returns).abs() < 1e-12);
    }

    #[test]
    fn approximate_kl_agrees_with_ndarray(tokens in log_probs(), cut in 1_usize..59) {
        let (new, old): (Vec<f32>, Vec<f32>) = tokens.into_iter().unzip();
        let moves = wide(&new) - wide(&old);
        // The mean square is the variance and the square of the mean.
        let expected = f64::midpoint(moves.var(0.0), moves.mean().unwrap().powi(2));
        let found = approximate_kl(&new, &old);
        prop_assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        prop_assert!((approximate_kl(&old, &new) - found).abs() < 1e-12);
        prop_assert!(approximate_kl(&new, &new).abs() < 1e-12);

        // The parts of a step add up to it, counted by their tokens.
        let cut = cut.min(new.len() - 1);
        let sum = |new: &[f32], old: &[f32]| approximate_kl(new, old) * new.len() as f64;
        let parts = sum(&new[..cut], &old[..cut]) + sum(&new[cut..], &old[cut..]);
        prop_assert!((parts - sum(&new, &old)).abs() < 1e-9);
    }

    #[test]
    fn clip_fraction_agrees_with_f64(
        tokens in prop::collection::vec((-2.0_f32..0.0, -2.0_f32..0.0, -2.0_f32..2.0), 2..60),
        low in 0.01_f32..0.5,
        high in 0.01_f32..0.5,
        dual in prop::option::of(1.1_f32..4.0),
        wider in 0.0_f32..0.4,
        cut in 1_usize..59,
    ) {
        let column =
            |of: fn(&(f32, f32, f32)) -> f32| tokens.iter().map(of).collect::<Vec<f32>>();
        let [new, old, advantages] = [column(|t| t.0), column(|t| t.1), column(|t| t.2)];
        let count = tokens.len() as f64;
        let (least, most) = (1.0 - f64::from(low), 1.0 + f64::from(high));
        let ratios = (wide(&new) - wide(&old)).exp();
        // The cost of a token, as the loss has it: clipped is where a ratio a little larger costs the same.
        let cost = |ratio: f64, advantage: f64| {
            let cost = (-advantage * ratio).max(-advantage * ratio.clamp(least, most));
            let bound = dual.filter(|_| advantage < 0.0).map_or(f64::INFINITY, f64::from);
            cost.min(bound * advantage.abs())
        };
        let clipped = Zip::from(&ratios).and(&wide(&advantages)).map_collect(|&ratio, &advantage| {
            let moved = cost(ratio * (1.0 + 1e-9), advantage) - cost(ratio, advantage);
            advantage.abs() > 0.0 && moved.abs() <= 0.0
        });
        let expected = clipped.iter().filter(|&&clipped| clipped).count() as f64 / count;
        // Rounding decides of ratios at a bound.
        let at_a_bound = |ratio: &&f64| {
            let near = |bound: f64| (**ratio - bound).abs() < 1e-5;
            near(least) || near(most) || dual.is_some_and(|dual| near(f64::from(dual)))
        };
        let unsure = ratios.iter().filter(at_a_bound).count() as f64 / count;
        let clip = Clip { low, high, dual };
        let found = clip_fraction(&new, &old, &advantages, clip);
        prop_assert!((found - expected).abs() <= unsure + 1e-12, "{found} is not {expected}");
        prop_assert!((0.0..=1.0).contains(&found));

        // Ratio 1 is within all bounds, and within wider bounds is more.
        prop_assert!(clip_fraction(&old, &old, &advantages, clip).abs() < 1e-12);
        let wider =
            Clip { low: low + wider, high: high + wider, dual: dual.map(|dual| dual + wider) };
        prop_assert!(clip_fraction(&new, &old, &advantages, wider) <= found);

        let cut = cut.min(tokens.len() - 1);
        let [(new, new_rest), (old, old_rest), (advantages, rest)] =
            [new.split_at(cut), old.split_at(cut), advantages.split_at(cut)];
        let parts = clip_fraction(new, old, advantages, clip) * cut as f64
            + clip_fraction(new_rest, old_rest, rest, clip) * (count - cut as f64);
        prop_assert!((parts - found * count).abs() < 1e-9);
    }

    #[test]
    fn what_engine_and_reference_differ_by_agrees_with_ndarray(tokens in log_probs()) {
        let (trainer, engine): (Vec<f32>, Vec<f32>) = tokens.into_iter().unzip();
        let differences = wide(&engine) - wide(&trainer);
        let mean = |of: fn(f64) -> f64| differences.mapv(of).mean().unwrap();
        let [one, other] = [&trainer, &engine].map(|row| [row.clone()]);
        let gap = EngineGap::of(&one, &other);
        prop_assert!((gap.mean - mean(f64::abs)).abs() < 1e-9);
        let largest = differences.fold(0.0, |most: f64, difference| most.max(difference.abs()));
        prop_assert!((gap.max - largest).abs() < 1e-12);
        let kl = mean(|difference| (-difference).exp() - 1.0 + difference);
        prop_assert!((gap.kl - kl).abs() < 1e-5 * kl.max(1.0), "{} is not {kl}", gap.kl);
        // However the tokens are cut into rows.
        let rows = |row: &[f32]| row.chunks(3).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let cut = EngineGap::of(&rows(&trainer), &rows(&engine));
        prop_assert!((cut.mean - gap.mean).abs() < 1e-12 && (cut.kl - gap.kl).abs() < 1e-9);

        let kl = sequence_kl(&engine, &trainer);
        prop_assert!((kl - differences.sum()).abs() < 1e-4);
        prop_assert!((kl + sequence_kl(&trainer, &engine)).abs() < 1e-9);
        prop_assert!(sequence_kl(&engine, &engine).abs() < 1e-12);
    }
}
