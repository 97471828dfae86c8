//! Options looked up among the most likely next tokens: behind the prompt, and behind a token that they go on after.

use crate::{Listed, Unweighable};
use std::collections::BTreeSet;

/// A share of the listed options' probability that does not matter.
const NEGLIGIBLE: f64 = 0.01;

/// Tokens that are named in an error.
const NAMED: usize = 8;

/// Most lists that are asked for to weigh options behind one prompt, after the first.
const MOST_LISTS: usize = 16;

/// Options that are being weighed. Every list of next tokens that [`NextTokens::wanted`] names is told to
/// [`NextTokens::tell`]; then [`NextTokens::row`] knows their probabilities.
#[derive(Debug)]
pub(crate) struct NextTokens<'a> {
    options: Vec<&'a str>,
    log_weights: Vec<f64>,
    todo: Vec<Beginning>,
    /// Lists that may still be asked for.
    left: usize,
}

/// What some options begin with.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    /// What stands behind the prompt, as the server wrote it.
    pub(crate) text: String,
    /// The same as the options have it.
    read: String,
    /// Its natural log-probability.
    log_prob: f64,
    /// The options that begin so.
    options: Vec<usize>,
}

impl<'a> NextTokens<'a> {
    /// Options of which nothing is known yet. Unless `can_follow`, the next tokens are told behind the prompt alone.
    pub(crate) fn new(options: &[&'a str], can_follow: bool) -> Self {
        let options: Vec<&'a str> = options.iter().map(|&option| bare(option)).collect();
        let prompt = Beginning { options: (0..options.len()).collect(), ..Beginning::default() };
        Self {
            log_weights: vec![f64::NEG_INFINITY; options.len()],
            options,
            todo: vec![prompt],
            left: if can_follow { MOST_LISTS } else { 0 },
        }
    }

    /// What the most likely next tokens are wanted behind; `None` if no more are.
    pub(crate) fn wanted(&mut self) -> Option<Beginning> {
        self.todo.pop()
    }

    /// Weighs the options that begin so by the most likely tokens behind.
    ///
    /// # Errors
    /// [`Unweighable::NoneListed`] if the first tokens have to do with no option; [`Unweighable::SeveralTokens`] if an option
    /// goes on behind a token where no list can be had.
    pub(crate) fn tell(&mut self, begun: &Beginning, listed: &[Listed]) -> Result<(), Unweighable> {
        let of = |&option: &usize| self.options[option];
        let options: Vec<&'a str> = begun.options.iter().map(of).collect();
        let rest = |&option: &&'a str| option.strip_prefix(begun.read.as_str()).unwrap_or_default();
        let rests: Vec<&str> = options.iter().map(rest).collect();
        let found = Found::new(&rests, listed, begun.read.is_empty());
        if begun.read.is_empty() && found.is_nothing() {
            return Err(Unweighable::NoneListed {
                options: owned(&options),
                listed: listed.iter().take(NAMED).map(|token| token.text.clone()).collect(),
            });
        }
        let followed = found.followed(&options)?;
        if let Some(first) = followed.first()
            && followed.len() > self.left
        {
            return Err(found.openings[*first].several_tokens(&options));
        }
        self.left -= followed.len();
        let bound = unlisted_bound(listed);
        for (place, &option) in begun.options.iter().enumerate() {
            let goes_on = followed.iter().any(|&index| found.openings[index].begins(place));
            let unlisted = if goes_on { f64::NEG_INFINITY } else { bound };
            let weight = begun.log_prob + found.log_weights[place].unwrap_or(unlisted);
            self.log_weights[option] = log_sum([self.log_weights[option], weight]);
        }
        for &index in &followed {
            let Opening { token, text, options, .. } = &found.openings[index];
            self.todo.push(Beginning {
                text: format!("{}{}", begun.text, token.text.replace(['▁', 'Ġ'], " ")),
                read: format!("{}{text}", begun.read),
                log_prob: begun.log_prob + token.log_prob.min(0.0),
                options: options.iter().map(|&place| begun.options[place]).collect(),
            });
        }
        Ok(())
    }

    /// The probability of each option, normalised over them.
    ///
    /// # Errors
    /// [`Unweighable::Impossible`] if all have probability 0.
    pub(crate) fn row(&self) -> Result<Vec<f64>, Unweighable> {
        normalise(&self.log_weights)
            .ok_or_else(|| Unweighable::Impossible { options: owned(&self.options) })
    }
}

/// What a list says of options.
struct Found<'t> {
    /// The logarithm of the weight of every option that a token stands for.
    log_weights: Vec<Option<f64>>,
    openings: Vec<Opening<'t>>,
}

/// A token that options go on behind.
struct Opening<'t> {
    token: &'t Listed,
    text: &'t str,
    /// Their places.
    options: Vec<usize>,
    /// Whether it stands for an option itself.
    is_option: bool,
}

impl<'t> Found<'t> {
    fn new(options: &[&str], listed: &'t [Listed], at_start: bool) -> Self {
        let mut found = Self { log_weights: vec![None; options.len()], openings: Vec::new() };
        for token in listed {
            let text = if at_start { bare(&token.text) } else { token.text.as_str() };
            let begun = begun_by(text, options);
            let stood_for = stood_for(text, options, &begun, at_start);
            for &place in &stood_for {
                let before = found.log_weights[place].unwrap_or(f64::NEG_INFINITY);
                found.log_weights[place] = Some(log_sum([before, token.log_prob.min(0.0)]));
            }
            if !begun.is_empty() && begun != stood_for {
                let is_option = !stood_for.is_empty();
                found.openings.push(Opening { token, text, options: begun, is_option });
            }
        }
        found
    }

    fn is_nothing(&self) -> bool {
        self.openings.is_empty() && self.log_weights.iter().all(Option::is_none)
    }

    /// The openings behind which the tokens must be known: those of options that no token stands for, if they are likely
    /// enough to matter.
    fn followed(&self, options: &[&str]) -> Result<BTreeSet<usize>, Unweighable> {
        let opened = self.openings.iter().map(Opening::log_prob);
        let matters =
            log_sum(self.log_weights.iter().flatten().copied().chain(opened)) + NEGLIGIBLE.ln();
        let mut followed = BTreeSet::new();
        for (place, weight) in self.log_weights.iter().enumerate() {
            let begins = |(_, opening): &(usize, &Opening<'_>)| opening.begins(place);
            let openings = || self.openings.iter().enumerate().filter(begins);
            let likely = log_sum(openings().map(|(_, opening)| opening.log_prob())) > matters;
            if weight.is_some() || !likely {
                continue;
            }
            for (index, opening) in openings() {
                if opening.is_option {
                    return Err(opening.several_tokens(options));
                }
                followed.insert(index);
            }
        }
        Ok(followed)
    }
}

impl Opening<'_> {
    fn begins(&self, place: usize) -> bool {
        self.options.contains(&place)
    }

    fn log_prob(&self) -> f64 {
        self.token.log_prob.min(0.0)
    }

    fn several_tokens(&self, options: &[&str]) -> Unweighable {
        let option = self.options.first().map(|&place| options[place]).unwrap_or_default();
        Unweighable::SeveralTokens { option: option.to_owned(), token: self.token.text.clone() }
    }
}

/// The places of the options that go on behind a token.
fn begun_by(token: &str, options: &[&str]) -> Vec<usize> {
    let goes_on =
        |option: &str| !token.is_empty() && option.len() > token.len() && option.starts_with(token);
    (0..options.len()).filter(|&place| goes_on(options[place])).collect()
}

/// The places of the options that a token stands for: the longest that it only closes; or else the one that only closes it;
/// or else, behind a beginning, the one that has nothing left but to be closed.
fn stood_for(token: &str, options: &[&str], begun: &[usize], at_start: bool) -> Vec<usize> {
    let all = 0..options.len();
    let closed: Vec<usize> =
        all.clone().filter(|&place| only_closes(token, options[place])).collect();
    if let Some(longest) = closed.iter().map(|&place| options[place].len()).max() {
        return closed.into_iter().filter(|&place| options[place].len() == longest).collect();
    }
    match begun {
        [only] if only_closes(options[*only], token) => return vec![*only],
        [] if !at_start && !goes_on_as_word(token) => {}
        _ => return Vec::new(),
    }
    let said: Vec<usize> = all.filter(|&place| !goes_on_as_word(options[place])).collect();
    if said.len() == 1 { said } else { Vec::new() }
}

/// Whether `longer` is `shorter` or goes on with something other than a letter or digit.
fn only_closes(longer: &str, shorter: &str) -> bool {
    longer.strip_prefix(shorter).is_some_and(|rest| !goes_on_as_word(rest))
}

fn goes_on_as_word(text: &str) -> bool {
    text.chars().next().is_some_and(char::is_alphanumeric)
}

/// A text without one leading space.
fn bare(text: &str) -> &str {
    // Some servers show the space as the tokenizer writes it.
    text.strip_prefix([' ', '▁', 'Ġ']).unwrap_or(text)
}

fn owned(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

/// The logarithm of an upper bound of the probability of a token that is not listed.
fn unlisted_bound(listed: &[Listed]) -> f64 {
    let least = listed.iter().map(|token| token.log_prob.min(0.0)).fold(f64::INFINITY, f64::min);
    let mass: f64 = listed.iter().map(|token| token.log_prob.min(0.0).exp()).sum();
    least.min((1.0 - mass).max(0.0).ln())
}

/// The logarithm of the sum of exponentials.
fn log_sum(log_weights: impl IntoIterator<Item = f64>) -> f64 {
    let log_weights: Vec<f64> = log_weights.into_iter().collect();
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + log_weights.iter().map(|weight| (weight - largest).exp()).sum::<f64>().ln()
}

/// Weights that add up to 1; `None` if all are 0.
pub(crate) fn normalise(log_weights: &[f64]) -> Option<Vec<f64>> {
    let largest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return None;
    }
    let weights: Vec<f64> = log_weights.iter().map(|weight| (weight - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    Some(weights.into_iter().map(|weight| weight / sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options weighed where the tokens behind every text are known, and how many lists that took.
    fn weigh(
        options: &[&str],
        lists: &[(&str, &[(&str, f64)])],
    ) -> Result<(Vec<f64>, usize), Unweighable> {
        let mut weighing = NextTokens::new(options, true);
        let mut told = 0;
        while let Some(begun) = weighing.wanted() {
            let (_, list) = lists.iter().find(|(text, _)| *text == begun.text).unwrap();
            let listed = |&(text, probability): &(&str, f64)| Listed {
                text: text.to_owned(),
                log_prob: probability.ln(),
            };
            weighing.tell(&begun, &list.iter().map(listed).collect::<Vec<_>>())?;
            told += 1;
        }
        Ok((weighing.row()?, told))
    }

    #[track_caller]
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_token_that_is_closed_by_one_option_alone_stands_for_it() {
        let list: &[(&str, f64)] = &[("2", 0.5), (" 2", 0.1), ("3", 0.3), ("x", 0.1)];
        let (row, lists) = weigh(&["2)", "3)"], &[("", list)]).unwrap();
        assert_close(&row, &[2.0 / 3.0, 1.0 / 3.0]);
        assert_eq!(lists, 1);
    }

    #[test]
    fn what_two_options_begin_with_is_followed() {
        let first: &[(&str, f64)] = &[("1", 0.5), ("9", 0.4), ("10", 0.1)];
        let behind: &[(&str, f64)] = &[("0", 0.6), (")", 0.2), (".", 0.1), ("5", 0.1)];
        let lists = [("", first), ("1", behind)];
        let (row, told) = weigh(&["1)", "9)", "10)"], &lists).unwrap();
        // 1: 0.5 (0.2 + 0.1); 9: 0.4; 10: 0.1 + 0.5 * 0.6. "15" is none of them.
        let sum = 0.15 + 0.4 + 0.4;
        assert_close(&row, &[0.15 / sum, 0.4 / sum, 0.4 / sum]);
        assert_eq!(told, 2);
        // It hardly matters how a 1 goes on that is this unlikely: the bounds are min(0.001, 1 - 1).
        let sure: &[(&str, f64)] = &[("9", 0.999), ("1", 0.001)];
        let (row, told) = weigh(&["1)", "9)", "10)"], &[("", sure)]).unwrap();
        assert!(row[1] > 0.99, "{row:?}");
        assert_eq!(told, 1);
    }

    #[test]
    fn options_of_several_tokens_are_followed_to_their_end() {
        let first: &[(&str, f64)] = &[(" yes", 0.5), (" ne", 0.4), ("n", 0.1)];
        let never: &[(&str, f64)] = &[("ver", 0.75), ("ed", 0.25)];
        let nope: &[(&str, f64)] = &[("ope", 1.0)];
        let lists = [("", first), (" ne", never), ("n", nope)];
        let (row, told) = weigh(&["yes", "never"], &lists).unwrap();
        assert_close(&row, &[0.5 / 0.8, 0.3 / 0.8]);
        assert_eq!(told, 3);
    }

    #[test]
    fn an_option_that_begins_another_is_refused_where_it_matters() {
        let list: &[(&str, f64)] = &[("1", 0.5), ("2", 0.5)];
        let error = weigh(&["1", "2", "10"], &[("", list)]).unwrap_err();
        let expected = Unweighable::SeveralTokens { option: "10".into(), token: "1".into() };
        assert_eq!(error, expected);
        // A tokenizer that has ten as one token.
        let list: &[(&str, f64)] = &[("1", 0.25), ("2", 0.25), ("10", 0.5)];
        let (row, _) = weigh(&["1", "2", "10"], &[("", list)]).unwrap();
        assert_close(&row, &[0.25, 0.25, 0.5]);
    }

    #[test]
    fn lists_have_an_end() {
        let letters: Vec<String> = ('a'..='z').map(|letter| format!("{letter}x")).collect();
        let options: Vec<&str> = letters.iter().map(String::as_str).collect();
        let list: Vec<(&str, f64)> =
            options.iter().map(|option| (&option[..1], 1.0 / 26.0)).collect();
        let error = weigh(&options, &[("", list.as_slice())]).unwrap_err();
        assert!(matches!(error, Unweighable::SeveralTokens { .. }), "{error}");
    }
}
