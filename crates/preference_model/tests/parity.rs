//! The losses of TRL and `OpenRLHF`, as they computed them on the same scores. The metrics of the same scores are compared in
//! `src/part.rs`.
//!
//! `fixtures/reward_model.json` holds the scores, the losses and their gradients, and the versions that made them;
//! `crates/ppo/tests/fixtures/make_fixtures.py` makes it.
#![allow(clippy::unwrap_used, reason = "tests on a fixture")]

use burn::backend::Autodiff;
use burn::tensor::Tensor;
use burn_flex::{Flex, FlexDevice};
use preference_model::{bradley_terry_with_margin, centring};
use serde::Deserialize;

type B = Autodiff<Flex>;

#[derive(Deserialize)]
struct Fixture {
    chosen: Vec<f32>,
    rejected: Vec<f32>,
    margin: Vec<f32>,
    trl: Vec<Trl>,
    openrlhf: Vec<OpenRlhf>,
}

#[derive(Deserialize)]
struct Trl {
    margin: bool,
    center_rewards_coefficient: Option<f64>,
    #[serde(flatten)]
    found: Found,
}

#[derive(Deserialize)]
struct OpenRlhf {
    kind: String,
    margin: bool,
    #[serde(flatten)]
    found: Found,
}

#[derive(Deserialize)]
struct Found {
    loss: f64,
    gradient_chosen: Vec<f64>,
    gradient_rejected: Vec<f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/reward_model.json")).unwrap()
}

fn tensor(values: &[f32]) -> Tensor<B, 1> {
    Tensor::from_floats(values, &FlexDevice)
}

fn vector(tensor: Tensor<Flex, 1>) -> Vec<f64> {
    tensor.into_data().iter().collect()
}

/// The mean loss of hard labels and its gradients; with `swapped` the same pairs stored the other way round, at a label of 0.
fn ours(fixture: &Fixture, with_margin: bool, coefficient: f64, swapped: bool) -> Found {
    let pairs = fixture.chosen.len();
    let chosen = tensor(&fixture.chosen).require_grad();
    let rejected = tensor(&fixture.rejected).require_grad();
    let margins =
        if with_margin { tensor(&fixture.margin) } else { Tensor::zeros([pairs], &FlexDevice) };
    let difference = chosen.clone() - rejected.clone();
    let labels = Tensor::ones([pairs], &FlexDevice);
    let losses = if swapped {
        bradley_terry_with_margin(-difference, labels * 0.0, margins)
    } else {
        bradley_terry_with_margin(difference, labels, margins)
    };
    let pull = centring(chosen.clone(), rejected.clone()) * coefficient;
    let loss = (losses + pull).mean();
    let gradients = loss.backward();
    Found {
        loss: vector(loss.inner())[0],
        gradient_chosen: vector(chosen.grad(&gradients).unwrap()),
        gradient_rejected: vector(rejected.grad(&gradients).unwrap()),
    }
}

fn assert_alike(found: &Found, expected: &Found) {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    assert!(close(found.loss, expected.loss), "{} {}", found.loss, expected.loss);
    for (found, expected) in [
        (&found.gradient_chosen, &expected.gradient_chosen),
        (&found.gradient_rejected, &expected.gradient_rejected),
    ] {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}

#[test]
fn losses_are_those_of_trl() {
    let fixture = fixture();
    assert!(fixture.trl.len() >= 4);
    for case in &fixture.trl {
        let coefficient = case.center_rewards_coefficient.unwrap_or(0.0);
        for swapped in [false, true] {
            assert_alike(&ours(&fixture, case.margin, coefficient, swapped), &case.found);
        }
    }
}

#[test]
fn losses_are_those_of_openrlhf() {
    let fixture = fixture();
    assert!(fixture.openrlhf.len() >= 4);
    for case in &fixture.openrlhf {
        // `LogExpLoss` takes a margin and ignores it.
        let with_margin = case.margin && case.kind == "PairWiseLoss";
        assert_alike(&ours(&fixture, with_margin, 0.0, false), &case.found);
    }
}
