//! Sums run in f64, tensors hold f32.

/// The nearest f32.
#[expect(clippy::cast_possible_truncation, reason = "the one place where precision is dropped")]
pub(crate) fn narrow(value: f64) -> f32 {
    value as f32
}
