//! Tokens a second of PPO's mathematics: rewards and advantages on rows in memory, losses as tensors.
//!
//! ```text
//! cargo bench -p rlaif --bench ppo_math
//! ```

mod devices;

use burn::backend::Autodiff;
use burn::prelude::{Backend, Device, Tensor};
use devices::on_every_device;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use rand::Rng;
use rlaif::language_model::{item_seed, stream};
use rlaif::ppo::{
    Clip, KlEstimator, Variance, generalised_advantages, kl_per_token, policy_loss, token_rewards,
    value_loss, whiten,
};

/// Replies of a round.
const REPLIES: usize = 64;

/// Tokens of a reply.
const TOKENS: usize = 48;

/// Tokens of a round.
const ROUND: usize = REPLIES * TOKENS;

fn main() {
    divan::main();
}

#[divan::bench]
fn kl_rewards(bencher: Bencher) {
    let (policy, reference) = (rows("policy"), rows("reference"));
    bencher.counter(ItemsCount::new(ROUND)).bench(|| {
        let rewards = |(policy, reference): (&Vec<f32>, &Vec<f32>)| {
            let kl = kl_per_token(policy, reference, KlEstimator::K1, None);
            token_rewards(&kl, 0.05, 1.0, TOKENS)
        };
        black_box(&policy).iter().zip(&reference).map(rewards).collect::<Vec<_>>()
    });
}

#[divan::bench]
fn advantages(bencher: Bencher) {
    let (rewards, values) = (rows("rewards"), rows("values"));
    bencher.counter(ItemsCount::new(ROUND)).bench(|| {
        let rows = black_box(&rewards).iter().zip(&values);
        rows.map(|(rewards, values)| generalised_advantages(rewards, values, 1.0, 0.95))
            .collect::<Vec<_>>()
    });
}

#[divan::bench]
fn whitening(bencher: Bencher) {
    let advantages = rows("advantages");
    bencher
        .counter(ItemsCount::new(ROUND))
        .with_inputs(|| advantages.clone())
        .bench_refs(|rows| whiten(rows, Variance::Unbiased, true));
}

on_every_device! {
    #[divan::bench]
    fn policy_loss_and_gradient(bencher: divan::Bencher) {
        let clip = super::Clip { low: 0.2, high: 0.2, dual: None };
        super::loss_and_gradient::<B>(bencher, |new, old, target, weights| {
            super::policy_loss(new, old, target, weights, clip)
        });
    }

    #[divan::bench]
    fn value_loss_and_gradient(bencher: divan::Bencher) {
        super::loss_and_gradient::<B>(bencher, |new, old, target, weights| {
            super::value_loss(new, old, target, weights, 0.2)
        });
    }
}

/// A loss of new, old and target numbers and weights, and its gradient for the new ones.
fn loss_and_gradient<B: Backend>(
    bencher: Bencher,
    loss: impl Fn(Numbers<B>, Numbers<B>, Numbers<B>, Numbers<B>) -> Numbers<B>,
) {
    let device = Device::<B>::default();
    let numbers = |name| Numbers::<B>::from_floats(rows(name).concat().as_slice(), &device);
    let (new, old, target) = (numbers("new").require_grad(), numbers("old"), numbers("target"));
    let weights = Numbers::<B>::full([ROUND], 1.0 / ROUND as f64, &device);
    bencher.counter(ItemsCount::new(ROUND)).bench_local(|| {
        let gradients = loss(new.clone(), old.clone(), target.clone(), weights.clone()).backward();
        B::sync(&device).expect("the device finishes its work");
        gradients
    });
}

/// One number a token.
type Numbers<B> = Tensor<Autodiff<B>, 1>;

/// Numbers like log-probs: one row a reply.
fn rows(name: &str) -> Vec<Vec<f32>> {
    let mut rng = stream(item_seed(1, &[name]));
    let mut row = || (0..TOKENS).map(|_| rng.random_range(-3.0..0.0)).collect();
    (0..REPLIES).map(|_| row()).collect()
}
