//! How alike texts are.

use std::collections::HashMap;

/// Longest stretch of words that is compared.
const ORDER: usize = 4;

/// What stands for a stretch that no other text has.
const NEARLY_NONE: f64 = 0.1;

/// The mean BLEU of each text against all others, from 0 (nothing shared) to 1 (all the same); none of fewer than two texts
/// with a word.
///
/// For a text with `c` words, of which `m_n` of its `t_n` stretches of `n` words occur in another text, each at most as often as
/// in the one other text that has it most, and with `r` the number of words of the other text nearest in length (the shorter
/// of two as near):
///
/// ```text
/// bleu = min(1, exp(1 - r/c)) (Π_n m_n / t_n)^(1/N),  n = 1 … N,  N = min(4, c)
/// ```
///
/// where an `m_n` of 0 is taken for 0.1. Texts without a word are left out. It grows with the number of texts, so that only
/// sets of one size can be compared. The cost is linear in the words.
///
/// # References
/// Zhu et al. (2018), arXiv 1802.01886, section 3.2; BLEU is Papineni et al. (2002), the smoothing the first of Chen and
/// Cherry (2014).
pub(crate) fn self_bleu(texts: &[Vec<String>]) -> Option<f64> {
    let texts: Vec<&[String]> =
        texts.iter().map(Vec::as_slice).filter(|words| !words.is_empty()).collect();
    if texts.len() < 2 {
        return None;
    }
    let counted: Vec<Vec<Counts<'_>>> =
        texts.iter().map(|words| (1..=ORDER).map(|order| counts(words, order)).collect()).collect();
    let most = most_frequent(&counted);
    let mut lengths: Vec<usize> = texts.iter().map(|words| words.len()).collect();
    lengths.sort_unstable();
    let bleu = |(text, counts): (usize, &Vec<Counts<'_>>)| {
        let length = texts[text].len();
        let orders = ORDER.min(length);
        let precisions = counts.iter().take(orders).zip(1..).map(|(counts, order)| {
            let matched: usize =
                counts.iter().map(|(stretch, &count)| count.min(most[stretch].besides(text))).sum();
            let matched = if matched == 0 { NEARLY_NONE } else { matched as f64 };
            (matched / (length + 1 - order) as f64).ln()
        });
        let mean = precisions.sum::<f64>() / orders as f64;
        let ratio = nearest_other(&lengths, length) as f64 / length as f64;
        (mean + (1.0 - ratio).min(0.0)).exp()
    };
    Some(counted.iter().enumerate().map(bleu).sum::<f64>() / texts.len() as f64)
}

/// How often every stretch of some length occurs in a text.
type Counts<'a> = HashMap<&'a [String], usize>;

fn counts(words: &[String], order: usize) -> Counts<'_> {
    let mut counts = HashMap::new();
    for stretch in words.windows(order) {
        *counts.entry(stretch).or_insert(0) += 1;
    }
    counts
}

/// The two texts that have a stretch most often, which is all that is needed to leave out any one text.
#[derive(Debug, Clone, Copy, Default)]
struct Most {
    text: usize,
    count: usize,
    /// In any other text.
    second: usize,
}

impl Most {
    fn see(&mut self, text: usize, count: usize) {
        if count > self.count {
            *self = Self { text, count, second: self.count };
        } else {
            self.second = self.second.max(count);
        }
    }

    /// The highest count in another text than `text`.
    fn besides(&self, text: usize) -> usize {
        if self.text == text { self.second } else { self.count }
    }
}

fn most_frequent<'a>(counted: &[Vec<Counts<'a>>]) -> HashMap<&'a [String], Most> {
    let mut most: HashMap<&[String], Most> = HashMap::new();
    for (text, orders) in counted.iter().enumerate() {
        for (stretch, &count) in orders.iter().flatten() {
            most.entry(*stretch).or_default().see(text, count);
        }
    }
    most
}

/// The length nearest to `length` among sorted ones, of which one is its own; the shorter of two as near.
fn nearest_other(sorted: &[usize], length: usize) -> usize {
    let place = sorted.partition_point(|&other| other < length);
    let below = place.checked_sub(1).map(|place| sorted[place]);
    match (below, sorted.get(place + 1)) {
        (Some(below), Some(&above)) if length - below <= above - length => below,
        (_, Some(&above)) => above,
        (Some(below), None) => below,
        (None, None) => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::words;
    use proptest::prelude::*;

    fn texts(of: &[&str]) -> Vec<Vec<String>> {
        of.iter().map(|text| words(text)).collect()
    }

    /// BLEU straight from its definition.
    fn slow(texts: &[Vec<String>]) -> f64 {
        let of = |own: usize| {
            let text = &texts[own];
            let others: Vec<&Vec<String>> =
                (0..texts.len()).filter(|&other| other != own).map(|other| &texts[other]).collect();
            let orders = text.len().min(4);
            let mut sum = 0.0;
            for order in 1..=orders {
                let mut matched = 0.0;
                for (stretch, count) in counts(text, order) {
                    let most = others
                        .iter()
                        .map(|other| other.windows(order).filter(|one| *one == stretch).count())
                        .max();
                    matched += count.min(most.unwrap()) as f64;
                }
                if matched == 0.0 {
                    matched = 0.1;
                }
                sum += (matched / (text.len() + 1 - order) as f64).ln();
            }
            let length = text.len() as f64;
            let near = others
                .iter()
                .map(|other| other.len())
                .min_by_key(|&other| (other.abs_diff(text.len()), other))
                .unwrap();
            (sum / orders as f64).exp() * (1.0 - near as f64 / length).exp().min(1.0)
        };
        (0..texts.len()).map(of).sum::<f64>() / texts.len() as f64
    }

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        assert!((self_bleu(&texts(&["a b c d e"; 3])).unwrap() - 1.0).abs() < 1e-12);
        // Of "a b": 1 of 2 words and 0.1 of 1 pair. Of "a c d": 1 of 3, 0.1 of 2, 0.1 of 1; its neighbour is shorter.
        let one = (1.0 - 3.0 / 2.0_f64).exp() * (0.5 * 0.1_f64).sqrt();
        let other = (1.0 / 3.0 * 0.05 * 0.1_f64).cbrt();
        let found = self_bleu(&texts(&["a b", "a c d"])).unwrap();
        assert!((found - f64::midpoint(one, other)).abs() < 1e-12, "{found}");
        assert_eq!(self_bleu(&texts(&["a b", " "])), None);
        assert_eq!(self_bleu(&[]), None);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(texts in prop::collection::vec("[abc ]{1,12}", 2..7)) {
            let texts: Vec<Vec<String>> =
                texts.iter().map(|text| words(text)).filter(|words| !words.is_empty()).collect();
            prop_assume!(texts.len() > 1);
            let found = self_bleu(&texts).unwrap();
            prop_assert!((found - slow(&texts)).abs() < 1e-9, "{found} {}", slow(&texts));
            prop_assert!((0.0..=1.0 + 1e-9).contains(&found));
        }
    }
}
