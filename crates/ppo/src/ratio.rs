//! Probability ratios that do not overflow.

/// Log-ratios are kept within this before they are exponentiated. A ratio of `e^20`, about 5e8, is far outside any clipping.
pub(crate) const LARGEST_LOG_RATIO: f32 = 20.0;

/// `exp(new - old)`, the exponent within [-20, 20].
pub(crate) fn ratio(new: f32, old: f32) -> f64 {
    let limit = f64::from(LARGEST_LOG_RATIO);
    (f64::from(new) - f64::from(old)).clamp(-limit, limit).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_quotient_and_does_not_overflow() {
        assert!((ratio(-1.0, -1.5) - 0.5_f64.exp()).abs() < 1e-12);
        assert!((ratio(0.0, -1000.0) - 20.0_f64.exp()).abs() < 1e-3);
        assert!((ratio(-1000.0, 0.0) - (-20.0_f64).exp()).abs() < 1e-12);
    }
}
