//! The exponential function, in a form that compilers turn into vector instructions.

/// `exp(x)` to within 2 units in the last place; 0 below -87, where results are no longer normal numbers, and the value
/// at 88 above that.
///
/// `x = n ln 2 + r` with a whole number `n` and `|r| <= ln 2 / 2`; `exp(r)` is its Taylor polynomial of degree 7, whose
/// error is below 3e-9 there, and `2^n` is written into the exponent bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.0;
    const HIGHEST: f32 = 88.0;
    /// `1.5 * 2^23`. Adding it leaves no bits for a fraction, so that the sum is rounded to a whole number, whose bits are the
    /// last of the sum's: compilers know no vector instruction for a conversion that has to mind numbers out of range.
    const ROUND: f32 = 12_582_912.0;
    const EXPONENT_OF_1: u32 = 127;
    const MANTISSA_BITS: u32 = 23;
    /// `ln 2` in two parts, so that their products with `n` are exact enough: 355 / 512 and what is left.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(LOWEST, HIGHEST);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let mut power = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        power = power * r + coefficient;
    }
    let exponent = rounded.to_bits().wrapping_add(EXPONENT_OF_1);
    let two_to_n = f32::from_bits(exponent << MANTISSA_BITS);
    let result = power * two_to_n;
    if x < LOWEST { 0.0 } else { result }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "these are exact")]
    fn ends_are_sound() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e9), 0.0);
        assert!(exp(f32::INFINITY).is_finite());
        assert!(exp(f32::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn agrees_with_twice_the_precision(x in -86.9_f32..87.9) {
            let expected = f64::from(x).exp();
            prop_assert!((f64::from(exp(x)) - expected).abs() < 3e-7 * expected);
        }
    }
}
