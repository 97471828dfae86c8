//! The functions inside feed-forward blocks, with and without a gate.

use crate::exp::exp;
use crate::flex::{copied, for_each_chunk, for_each_row, in_order, ordered, to_tensor};
use crate::tracked::{Rule, both_tracked, learned, record, tracked};
use burn::tensor::{Tensor, activation, backend::Backend};
use burn_flex::FlexTensor;
use std::f32::consts::{FRAC_1_SQRT_2, PI};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))` (arXiv 1702.03118).
    Silu,
    /// `x P(X <= x)` of a standard normal `X` (arXiv 1606.08415).
    Gelu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, an approximation of it (the same, section 2).
    GeluTanh,
}

/// `activation(gate) * up` (arXiv 2002.05202).
///
/// # Shapes
/// Both the same, and so is the result.
///
/// # Panics
/// If the shapes differ.
pub fn gated<B: Backend>(
    activation: Activation,
    gate: Tensor<B, 2>,
    up: Tensor<B, 2>,
) -> Tensor<B, 2> {
    assert_eq!(gate.dims(), up.dims(), "a gate of the same shape");
    let (gate, up) = match both_tracked(gate, up) {
        Ok([gate, up]) => {
            let held = [&gate, &up].map(|operand| ordered(operand.primitive.clone()));
            let result = multiply(activation, copied(&held[0]), &held[1]);
            let [gate_held, up_held] = held;
            let rule = Gated { activation, gate: gate_held, up: up_held };
            return learned(record([&gate, &up], result, |_| rule));
        }
        Err(operands) => operands,
    };
    let gate = match in_order(gate) {
        Ok(gate) => gate,
        Err(gate) => return of_primitives(activation, gate) * up,
    };
    match in_order(up) {
        Ok(up) => to_tensor(multiply(activation, gate, &up)),
        Err(up) => of_primitives(activation, to_tensor(gate)) * up,
    }
}

/// `activation(x)`.
///
/// # Shapes
/// The result's are those of `x`.
pub fn activate<B: Backend>(activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    let x = match tracked(x) {
        Ok(x) => {
            let held = ordered(x.primitive.clone());
            let result = apply(activation, copied(&held));
            return learned(record([&x], result, |_| Activated { activation, x: held }));
        }
        Err(x) => x,
    };
    match in_order(x) {
        Ok(x) => to_tensor(apply(activation, x)),
        Err(x) => of_primitives(activation, x),
    }
}

fn of_primitives<B: Backend>(activation: Activation, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match activation {
        Activation::Silu => activation::silu(x),
        // The backward pass of burn's own is, but on flex, that of the approximation by tanh.
        Activation::Gelu if B::ad_enabled(&x.device()) => {
            let below = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
            x * below
        }
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => {
            let cubed = x.clone() * x.clone() * x.clone();
            let inner = (x.clone() + cubed * GELU_CUBE) * (2.0 / PI).sqrt();
            x * 0.5 * (inner.tanh() + 1.0)
        }
    }
}

const GELU_CUBE: f32 = 0.044_715;

/// The value of a function at a place and its slope there.
#[derive(Debug, Clone, Copy)]
struct At {
    value: f32,
    slope: f32,
}

#[inline(always)]
fn silu(x: f32) -> At {
    let share = 1.0 / (1.0 + exp(-x));
    // There `exp(-x)` grows no further, and the share that it leaves would count where `x` is far below.
    let share = if x < -88.0 { 0.0 } else { share };
    At { value: x * share, slope: share * (1.0 + x * (1.0 - share)) }
}

#[inline(always)]
fn gelu(x: f32) -> At {
    let below = 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2));
    let density = exp(-0.5 * x * x) / (2.0 * PI).sqrt();
    At { value: x * below, slope: below + x * density }
}

/// The error function to within 2e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let mut sum = 1.061_405_4_f32;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        sum = sum * t + coefficient;
    }
    (1.0 - sum * t * exp(-x * x)).copysign(x)
}

#[inline(always)]
fn gelu_tanh(x: f32) -> At {
    let root = (2.0 / PI).sqrt();
    let inner = root * (x + GELU_CUBE * x * x * x);
    // tanh(u) = 1 - 2 / (exp(2 u) + 1)
    let tanh = 1.0 - 2.0 / (exp(2.0 * inner) + 1.0);
    // Further out the hyperbolic tangent is 1 or -1 to the last bit, and a square may be too large a number.
    let near = x.clamp(-10.0, 10.0);
    let of_inner = root * (1.0 + 3.0 * GELU_CUBE * near * near);
    At {
        value: 0.5 * x * (1.0 + tanh),
        slope: 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * of_inner,
    }
}

/// Calls a function with the function that an activation stands for, so that each is compiled for it.
macro_rules! with_function {
    ($activation:expr, $call:ident($($argument:expr),*)) => {
        match $activation {
            Activation::Silu => $call($($argument,)* silu),
            Activation::Gelu => $call($($argument,)* gelu),
            Activation::GeluTanh => $call($($argument,)* gelu_tanh),
        }
    };
}

fn apply(activation: Activation, x: FlexTensor) -> FlexTensor {
    with_function!(activation, apply_with(x))
}

/// In the storage of `x`.
fn apply_with(mut x: FlexTensor, function: impl Fn(f32) -> At + Sync) -> FlexTensor {
    let width = x.layout().shape()[1];
    for_each_row(
        x.storage_mut(),
        width,
        #[inline(always)]
        |_, row| row.iter_mut().for_each(|x| *x = function(*x).value),
    );
    x
}

fn multiply(activation: Activation, gate: FlexTensor, up: &FlexTensor) -> FlexTensor {
    with_function!(activation, multiply_with(gate, up))
}

/// In the storage of `gate`.
fn multiply_with(
    mut gate: FlexTensor,
    up: &FlexTensor,
    function: impl Fn(f32) -> At + Sync,
) -> FlexTensor {
    let width = gate.layout().shape()[1];
    let factors: &[f32] = up.storage();
    for_each_row(
        gate.storage_mut(),
        width,
        #[inline(always)]
        |index, row| {
            let factors = &factors[index * width..][..row.len()];
            for (x, factor) in row.iter_mut().zip(factors) {
                *x = function(*x).value * factor;
            }
        },
    );
    gate
}

#[derive(Debug, Clone)]
struct Activated {
    activation: Activation,
    x: FlexTensor,
}

impl Rule<1> for Activated {
    /// `g f'(x)`.
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(with_function!(self.activation, slopes_with(gradient, &self.x)))]
    }
}

/// In the storage of the gradient.
fn slopes_with(
    mut gradient: FlexTensor,
    x: &FlexTensor,
    function: impl Fn(f32) -> At + Sync,
) -> FlexTensor {
    for_each_chunk(
        [gradient.storage_mut()],
        x.storage(),
        #[inline(always)]
        |[gradients], xs| {
            for (gradient, x) in gradients.iter_mut().zip(xs) {
                *gradient *= function(*x).slope;
            }
        },
    );
    gradient
}

#[derive(Debug, Clone)]
struct Gated {
    activation: Activation,
    gate: FlexTensor,
    up: FlexTensor,
}

impl Rule<2> for Gated {
    /// `g up f'(gate)` and `g f(gate)`.
    fn gradients(self, gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let Self { activation, gate, up } = self;
        with_function!(activation, gated_slopes_with(gradient, gate, &up)).map(Some)
    }
}

/// In the storage of the gate and of the gradient.
fn gated_slopes_with(
    mut gradient: FlexTensor,
    mut gate: FlexTensor,
    up: &FlexTensor,
    function: impl Fn(f32) -> At + Sync,
) -> [FlexTensor; 2] {
    let written: [&mut [f32]; 2] = [gate.storage_mut(), gradient.storage_mut()];
    for_each_chunk(
        written,
        up.storage(),
        #[inline(always)]
        |[gates, gradients], ups| {
            for ((x, g), up) in gates.iter_mut().zip(gradients).zip(ups) {
                let At { value, slope } = function(*x);
                *x = *g * up * slope;
                *g *= value;
            }
        },
    );
    [gate, gradient]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::{Exact, any_off};
    use crate::tracked::tests::{Fused, Primitives, distance, none_or_up_to, numbers, wave};
    use burn::tensor::TensorData;
    use burn::tensor::backend::AutodiffBackend;
    use burn_flex::{Flex, FlexDevice};
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, ZERO};
    use proptest::prelude::*;
    use std::f64::consts::PI as PI_64;

    const ALL: [Activation; 3] = [Activation::Silu, Activation::Gelu, Activation::GeluTanh];

    #[test]
    fn by_hand() {
        let x = Tensor::<Flex, 2>::from_data([[0.0, 1.0, -2.0, 60.0, -60.0]], &FlexDevice);
        // sigmoid(1) = 0.731059, sigmoid(-2) = 0.119203; P(X <= 1) = 0.841345, P(X <= -2) = 0.022750;
        // tanh(0.797885 * 1.044715) = 0.682384, tanh(-0.797885 * 2.357720) = -0.954600.
        for (activation, [at_1, at_minus_2]) in [
            (Activation::Silu, [0.731_059, -0.238_406]),
            (Activation::Gelu, [0.841_345, -0.045_500]),
            (Activation::GeluTanh, [0.841_192, -0.045_402]),
        ] {
            let found = numbers(activate(activation, x.clone()));
            for (found, expected) in found.iter().zip([0.0, at_1, at_minus_2, 60.0, 0.0]) {
                assert!((found - expected).abs() < 2e-6, "{activation:?}: {found} {expected}");
            }
        }
    }

    /// The result and the gradients of both operands, with a gate; then the same without.
    fn learned_numbers<B: AutodiffBackend<Device = FlexDevice>>(
        shape: [usize; 2],
        size: f32,
        gated: impl Fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>,
        alone: impl Fn(Tensor<B, 2>) -> Tensor<B, 2>,
    ) -> [Vec<f32>; 5] {
        let gate = wave::<B, 2>(shape, 0.37, size).require_grad();
        let up = wave::<B, 2>(shape, 0.11, 3.0).require_grad();
        let weights = wave::<B, 2>(shape, 0.7, 1.0);
        let product = gated(gate.clone(), up.clone());
        let gradients = (product.clone() * weights.clone()).sum().backward();
        let of = |x: &Tensor<B, 2>| numbers(x.grad(&gradients).unwrap());
        let (of_gate, of_up) = (of(&gate), of(&up));
        let value = alone(gate.clone());
        let gradients = (value.clone() * weights).sum().backward();
        let slope = numbers(gate.grad(&gradients).unwrap());
        [numbers(product), of_gate, of_up, numbers(value), slope]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_primitives(
            rows in none_or_up_to(600),
            width in none_or_up_to(70),
            size in 0.1_f32..40.0,
        ) {
            for activation in ALL {
                let shape = [rows, width];
                let expected = learned_numbers::<Primitives>(
                    shape,
                    size,
                    |gate, up| of_primitives(activation, gate) * up,
                    |x| of_primitives(activation, x),
                );
                let found = learned_numbers::<Fused>(
                    shape,
                    size,
                    |gate, up| gated(activation, gate, up),
                    |x| activate(activation, x),
                );
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!(distance(found, expected) < 1e-5, "{:?}", activation);
                }
                let gate = wave::<Flex, 2>(shape, 0.37, size);
                let plain = gated(activation, gate, wave(shape, 0.11, 3.0));
                prop_assert_eq!(&numbers(plain), &found[0]);
            }
        }
    }

    /// `P(X <= x)` of a standard normal `X`, by Simpson's rule from 0 on.
    fn normal_below(x: f64) -> f64 {
        // Less than 1e-23 is left.
        if x.abs() > 10.0 {
            return if x > 0.0 { 1.0 } else { 0.0 };
        }
        let (parts, density) = (400, |t: f64| (-0.5 * t * t).exp());
        let step = x / f64::from(parts);
        let inner = (1..parts).map(|i| {
            let factor = if i % 2 == 1 { 4.0 } else { 2.0 };
            factor * density(f64::from(i) * step)
        });
        let integral = (density(0.0) + inner.sum::<f64>() + density(x)) * step / 3.0;
        0.5 + integral / (2.0 * PI_64).sqrt()
    }

    /// The value and the slope in double precision. A value is as exact as `x` is, or as 1 where `x` is larger; a slope as 1.
    fn exact(activation: Activation, x: f64) -> (Exact, Exact) {
        let [value, slope] = match activation {
            Activation::Silu => {
                let share = 1.0 / (1.0 + (-x).exp());
                [x * share, share * (1.0 + x * (1.0 - share))]
            }
            Activation::Gelu => {
                let density = (-0.5 * x * x).exp() / (2.0 * PI_64).sqrt();
                [x * normal_below(x), normal_below(x) + x * density]
            }
            Activation::GeluTanh => {
                let (root, cube) = ((2.0 / PI_64).sqrt(), 0.044_715);
                let tanh = (root * (x + cube * x.powi(3))).tanh();
                let of_inner = root * (1.0 + 3.0 * cube * x * x);
                let below = 0.5 * (1.0 + tanh);
                [x * below, below + 0.5 * x * (1.0 - tanh * tanh) * of_inner]
            }
        };
        // The smallest numbers have fewer bits.
        let size = value.abs().max(x.abs().min(1.0)) + f64::from(f32::MIN_POSITIVE);
        (Exact { value, parts: size }, Exact { value: slope, parts: 1.0 })
    }

    /// The first value or slope that is not what it should be.
    fn first_off<B: AutodiffBackend<Device = FlexDevice>>(
        activation: Activation,
        xs: &[f32],
    ) -> Option<String> {
        let data = TensorData::new(xs.to_vec(), [1, xs.len()]);
        let x = Tensor::<B, 2>::from_data(data, &FlexDevice).require_grad();
        let value = activate(activation, x.clone());
        let gradients = value.clone().sum().backward();
        let found = [numbers(value), numbers(x.grad(&gradients).unwrap())];
        let exact = xs.iter().map(|&x| exact(activation, f64::from(x)));
        let (values, slopes): (Vec<Exact>, Vec<Exact>) = exact.unzip();
        any_off(&found, &[values, slopes])
    }

    #[test]
    fn the_largest_numbers_have_values_and_slopes() {
        let xs = [f32::MIN, -1e38, -1e30, -1e19, -88.5, 88.5, 1e19, 1e30, 1e38, f32::MAX];
        for activation in ALL {
            assert_eq!(first_off::<Fused>(activation, &xs), None, "{activation:?}");
        }
    }

    /// Numbers of every size, and of those where functions bend.
    fn finite() -> impl Strategy<Value = f32> {
        prop_oneof![POSITIVE | NEGATIVE | NORMAL | ZERO, -100.0_f32..100.0, -10.0_f32..10.0]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_double_precision(xs in prop::collection::vec(finite(), 0..100)) {
            for activation in ALL {
                prop_assert_eq!(first_off::<Fused>(activation, &xs), None, "{:?}", activation);
            }
            // Primitives multiply a slope of 0 by the square of a number, which must not be infinite.
            let xs: Vec<f32> = xs.into_iter().filter(|x| x.abs() < 1e19).collect();
            for activation in ALL {
                prop_assert_eq!(first_off::<Primitives>(activation, &xs), None, "{:?}", activation);
            }
        }
    }

    #[test]
    #[should_panic(expected = "a gate of the same shape")]
    fn a_gate_of_another_shape_is_a_mistake() {
        let [gate, up] = [[2, 4], [4, 2]].map(|shape| wave::<Flex, 2>(shape, 0.37, 1.0));
        let _ = gated(Activation::Silu, gate, up);
    }

    #[test]
    fn operands_keep_their_numbers() {
        let gate = Tensor::<Flex, 2>::from_data([[1.0, -2.0]], &FlexDevice);
        let up = Tensor::<Flex, 2>::from_data([[3.0, 0.5]], &FlexDevice);
        for activation in ALL {
            let _ = gated(activation, gate.clone(), up.clone());
            let _ = activate(activation, gate.clone());
        }
        assert_eq!(numbers(gate), [1.0, -2.0]);
        assert_eq!(numbers(up), [3.0, 0.5]);
    }
}
