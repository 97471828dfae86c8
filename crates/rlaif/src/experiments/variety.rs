//! How varied texts are.

use std::collections::HashSet;

/// Words in a row that count as one.
const ORDER: usize = 3;

/// The share of distinct triples of words among all of them; none if no text is so long.
///
/// It falls with the number of texts and their lengths, so that only sets of about the same size should be compared.
///
/// # References
/// Li et al. (2016), arXiv 1510.03055, distinct-n.
pub(super) fn distinct_triples<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<f64> {
    let mut distinct = HashSet::new();
    let mut all = 0;
    for text in texts {
        let words: Vec<&str> = text.split_whitespace().collect();
        for triple in words.windows(ORDER) {
            all += 1;
            distinct.insert(triple.to_vec());
        }
    }
    (all > 0).then(|| distinct.len() as f64 / f64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_triples_of_all_texts_together() {
        assert_eq!(distinct_triples(["a b", ""]), None);
        // a b c, b c d; a b c: 2 of 3.
        let found = distinct_triples(["a b c d", "a b  c"]).unwrap();
        assert!((found - 2.0 / 3.0).abs() < 1e-12);
        assert!((distinct_triples(["a b c", "a b d"]).unwrap() - 1.0).abs() < 1e-12);
    }
}
