//! How long and how varied replies are.

use crate::self_bleu::self_bleu;
use crate::words::words;
use crate::{Error, Mean};
use language_model::{item_seed, stream};
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The length and the variety of a set of replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diversity {
    /// Replies measured.
    pub n: usize,
    /// Words a reply, as white space parts them.
    pub words: Mean,
    /// Half of the replies have at most so many words.
    pub median_words: f64,
    /// Share of distinct ones among all words, pairs and triples of words of all replies; none if no reply is so long.
    pub distinct: [Option<f64>; 3],
    /// Mean BLEU of a reply against all others, 1 if they are all the same; none of fewer than two replies with a word.
    pub self_bleu: Option<f64>,
}

/// Measures replies, which are grouped by prompt, or `of` of them drawn from the stream that `seed` names.
///
/// The interval of the mean length comes from prompts drawn again ([`Mean::by_prompt`]). The other measures have none: a
/// sample drawn with replacement holds copies, which are less varied.
///
/// ```text
/// distinct-n = distinct stretches of n words / stretches of n words
/// ```
///
/// For these and for self-BLEU a word is a run of letters, digits and apostrophes in lower case, or any other visible character
/// for itself. Self-BLEU takes each reply as the hypothesis and all others as its references, up to stretches of four words
/// with equal weights, a brevity penalty, and 0.1 in place of no match. Both measures depend on the number of replies and on
/// their lengths, so that only samples of one size should be compared.
///
/// # Errors
/// [`Error::Nothing`] without replies, [`Error::Setting`] if fewer than two, or more than there are, are to be drawn.
///
/// # References
/// Li et al. (2016), arXiv 1510.03055, for distinct-n; Zhu et al. (2018), arXiv 1802.01886, for self-BLEU.
pub fn diversity(
    prompts: &[Vec<String>],
    of: Option<usize>,
    seed: u64,
) -> Result<Diversity, Error> {
    let prompts = drawn(prompts, of, seed)?;
    let lengths: Vec<Vec<f64>> = prompts.iter().map(|replies| lengths(replies)).collect();
    let replies = || prompts.iter().flatten();
    let words: Vec<Vec<String>> = replies().map(|reply| words(reply)).collect();
    let mean =
        Mean::by_prompt(lengths.iter().map(|lengths| lengths.iter().copied()), seed, "words");
    Ok(Diversity {
        n: words.len(),
        words: mean.ok_or(Error::Nothing("reply"))?,
        median_words: median(lengths.into_iter().flatten().collect()),
        distinct: [1, 2, 3].map(|order| distinct(&words, order)),
        self_bleu: self_bleu(&words),
    })
}

/// The replies that are measured, by prompt.
fn drawn(
    prompts: &[Vec<String>],
    of: Option<usize>,
    seed: u64,
) -> Result<Vec<Vec<&String>>, Error> {
    let Some(of) = of else {
        return Ok(prompts.iter().map(|replies| replies.iter().collect()).collect());
    };
    let replies: Vec<(usize, &String)> = (0..)
        .zip(prompts)
        .flat_map(|(prompt, replies)| replies.iter().map(move |reply| (prompt, reply)))
        .collect();
    if !(2..=replies.len()).contains(&of) {
        let (setting, found) = ("sample", of.to_string());
        let expected = "a whole number of at least 2 and at most the number of replies";
        return Err(Error::Setting { setting, found, expected });
    }
    let mut rng = stream(item_seed(seed, &["evals", "diversity"]));
    let mut drawn = vec![Vec::new(); prompts.len()];
    for place in sample(&mut rng, replies.len(), of) {
        let (prompt, reply) = replies[place];
        drawn[prompt].push(reply);
    }
    Ok(drawn)
}

/// The words of each reply, as white space parts them.
fn lengths(replies: &[&String]) -> Vec<f64> {
    replies.iter().map(|reply| reply.split_whitespace().count() as f64).collect()
}

/// The middle number, or the mean of the two in the middle; at least one number.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

fn distinct(texts: &[Vec<String>], order: usize) -> Option<f64> {
    let stretches = || texts.iter().flat_map(|words| words.windows(order));
    let all = stretches().count();
    let distinct = stretches().collect::<HashSet<_>>().len();
    (all > 0).then(|| distinct as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One reply a prompt.
    fn replies(of: &[&str]) -> Vec<Vec<String>> {
        of.iter().map(|&text| vec![text.to_owned()]).collect()
    }

    #[test]
    fn agrees_with_numbers_computed_by_hand() {
        let found = diversity(&replies(&["A b.", "a b a", "c", ""]), None, 1).unwrap();
        assert_eq!(found.n, 4);
        assert!((found.words.value - 1.5).abs() < 1e-12);
        assert!((found.median_words - 1.5).abs() < 1e-12);
        // a b . / a b a / c: a, b, the full stop and c of 7; ab, b. and ba of 4; ab. and aba of 2.
        let expected = [4.0 / 7.0, 3.0 / 4.0, 1.0];
        for (found, expected) in found.distinct.iter().zip(expected) {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?}");
        }
        let found = diversity(&replies(&["x"]), None, 1).unwrap();
        assert_eq!((found.distinct[1], found.self_bleu), (None, None));
        assert!((found.median_words - 1.0).abs() < 1e-12);
    }

    #[test]
    fn copies_are_not_varied() {
        let same = diversity(&replies(&["one two three four five"; 20]), None, 1).unwrap();
        assert!((same.self_bleu.unwrap() - 1.0).abs() < 1e-12);
        assert!((same.distinct[0].unwrap() - 0.05).abs() < 1e-12);
        let varied: Vec<String> =
            (0..20).map(|index| format!("{index}a {index}b {index}c {index}d")).collect();
        let varied = diversity(&[varied], None, 1).unwrap();
        assert!(varied.self_bleu.unwrap() < 0.06, "{varied:?}");
        assert!((varied.distinct[2].unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn replies_to_one_prompt_are_one_sample_of_it() {
        let prompt = |count: usize| vec!["word ".repeat(count); 10];
        let prompts: Vec<Vec<String>> = (1..30).map(prompt).collect();
        let apart: Vec<Vec<String>> =
            prompts.iter().flatten().map(|reply| vec![reply.clone()]).collect();
        let [found, apart] = [prompts, apart].map(|replies| diversity(&replies, None, 1).unwrap());
        assert_eq!((found.n, found.distinct), (apart.n, apart.distinct));
        assert_eq!(found.words.value.to_bits(), apart.words.value.to_bits());
        let width = |found: &Diversity| found.words.high - found.words.low;
        // The root of ten, up to the noise of a thousand samples.
        let ratio = width(&found) / width(&apart);
        assert!((2.7..3.7).contains(&ratio), "{ratio}");
    }

    #[test]
    fn a_sample_is_drawn_by_the_seed() {
        let all: Vec<Vec<String>> = (1..60).map(|count| vec!["word ".repeat(count)]).collect();
        let of = |of, seed| diversity(&all, of, seed).unwrap();
        assert_eq!(of(Some(20), 1), of(Some(20), 1));
        assert_ne!(of(Some(20), 1).words.value.to_bits(), of(Some(20), 2).words.value.to_bits());
        assert_eq!(of(Some(20), 1).n, 20);
        assert!((of(Some(59), 1).words.value - of(None, 1).words.value).abs() < 1e-12);
        for bad in [0, 1, 60] {
            let message = diversity(&all, Some(bad), 1).unwrap_err().to_string();
            assert!(message.contains(&format!("`sample` is {bad}")), "{message}");
        }
        assert!(matches!(diversity(&[], None, 1), Err(Error::Nothing("reply"))));
    }
}
