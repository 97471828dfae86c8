//! Numbers in double precision, and how near those of single precision must come to them.

/// The share of its parts by which a number may be off.
pub(crate) const ALLOWED: f64 = 1e-5;

/// A number and the size of what it is the sum or the difference of. Rounding leaves a share of the parts, however little is
/// left of them where they cancel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exact {
    pub(crate) value: f64,
    pub(crate) parts: f64,
}

/// The first number that is further from the exact one than [`ALLOWED`] of its parts, or is none; nothing if all are near.
pub(crate) fn off(found: &[f32], exact: &[Exact]) -> Option<String> {
    assert_eq!(found.len(), exact.len(), "as many numbers");
    let near =
        |found: f32, exact: &Exact| (f64::from(found) - exact.value).abs() <= ALLOWED * exact.parts;
    let place = found.iter().zip(exact).position(|(&found, exact)| !near(found, exact))?;
    Some(format!("{} at {place} is not {:?}", found[place], exact[place]))
}

/// As [`off`], of one list after the other.
pub(crate) fn any_off(found: &[Vec<f32>], exact: &[Vec<Exact>]) -> Option<String> {
    found.iter().zip(exact).find_map(|(found, exact)| off(found, exact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_or_no_number_is_named() {
        let exact = [Exact { value: 1.0, parts: 2.0 }, Exact { value: 0.0, parts: 0.0 }];
        assert_eq!(off(&[1.000_015, 0.0], &exact), None);
        for found in [[1.000_025, 0.0], [f32::NAN, 0.0], [1.0, 1e-30]] {
            assert!(off(&found, &exact).is_some(), "{found:?}");
        }
    }
}
