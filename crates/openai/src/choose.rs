//! From log-probabilities to the probability of each option.

use crate::next_tokens::{NextTokens, normalise};

/// A token that a server lists, with its log-probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its text.
    pub text: String,
    /// Its natural log-probability.
    pub log_prob: f64,
}

/// A token of a text that was scored, with its log-probability after those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Its text.
    pub text: String,
    /// Its natural log-probability.
    pub log_prob: f64,
}

/// Why options cannot be weighed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unweighable {
    /// None of the options is among the most likely tokens.
    #[error(
        "none of the options {options:?} is among the most likely next tokens, which begin with {listed:?}; \
         raise `top_logprobs`, see that the server continues the prompt (`continuation`), or use completions with \
         `scoring = [\"echo\"]`"
    )]
    NoneListed {
        /// The options.
        options: Vec<String>,
        /// The most likely tokens.
        listed: Vec<String>,
    },
    /// An option begins with a likely token, but goes on behind it.
    #[error(
        "option {option:?} seems to take several tokens, the first of which is {token:?}, and what comes behind it cannot \
         be looked up; use options of one token, a `continuation` that the server knows, or completions"
    )]
    SeveralTokens {
        /// The option.
        option: String,
        /// The token that it begins with.
        token: String,
    },
    /// No option has any probability.
    #[error("the server gives none of the options {options:?} any probability")]
    Impossible {
        /// The options.
        options: Vec<String>,
    },
    /// The text that came back is not the one that was sent.
    #[error(
        "the server does not echo what was sent, or adds more than one token to it; it cannot be used with `scoring = [\"echo\"]`"
    )]
    NotEchoed,
}

/// The probability of each option, from the most likely next tokens.
///
/// A token stands for an option if they are the same behind one leading space, or if the token goes on with something
/// other than a letter or digit (`A)` stands for `A`, `An` does not); for the longest option if for several. It also stands
/// for the only option that it begins, if that goes on so (`A` for `A)`). The probabilities of all tokens that stand for an
/// option are added.
///
/// An option that no token stands for is less likely than every token listed, and no likelier than all that is not
/// listed together, so it gets the smaller of the two as an upper bound. All are normalised over the options.
///
/// # Errors
/// [`Unweighable::NoneListed`] if no token has to do with any option; [`Unweighable::SeveralTokens`] if an option that no
/// token stands for begins with a token that is likely enough to matter; [`Unweighable::Impossible`] if all options have
/// probability 0.
pub fn weigh_listed(options: &[&str], listed: &[Listed]) -> Result<Vec<f64>, Unweighable> {
    let mut weighing = NextTokens::new(options, false);
    while let Some(begun) = weighing.wanted() {
        weighing.tell(&begun, listed)?;
    }
    weighing.row()
}

/// The probability of each option, from the tokens of the prompt with that option behind it.
///
/// The tokens that all options share at the beginning are the prompt; the log-probabilities of the others are added. So
/// a prompt whose end melts into one token with the beginning of an option is weighed rightly, too.
///
/// # Errors
/// [`Unweighable::Impossible`] if all options have probability 0.
pub fn weigh_sequences(
    options: &[&str],
    sequences: &[Vec<Scored>],
) -> Result<Vec<f64>, Unweighable> {
    let shared = shared_tokens(sequences);
    let log_weights: Vec<f64> = sequences
        .iter()
        .map(|tokens| tokens[shared..].iter().map(|token| token.log_prob.min(0.0)).sum())
        .collect();
    normalise(&log_weights).ok_or_else(|| Unweighable::Impossible {
        options: options.iter().map(|&option| option.to_owned()).collect(),
    })
}

/// How many tokens all sequences begin with.
fn shared_tokens(sequences: &[Vec<Scored>]) -> usize {
    let Some((first, others)) = sequences.split_first() else { return 0 };
    let with_first =
        |other: &Vec<Scored>| first.iter().zip(other).take_while(|(a, b)| a.text == b.text).count();
    others.iter().map(with_first).min().unwrap_or(first.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(tokens: &[(&str, f64)]) -> Vec<Listed> {
        let list = |&(text, probability): &(&str, f64)| Listed {
            text: text.to_owned(),
            log_prob: probability.ln(),
        };
        tokens.iter().map(list).collect()
    }

    #[track_caller]
    fn weighs(options: &[&str], tokens: &[(&str, f64)], expected: &[f64]) {
        let found = weigh_listed(options, &listed(tokens)).unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
    }

    #[test]
    fn adds_what_stands_for_an_option_and_normalises() {
        // A: 0.3 + 0.1 + 0.1 = 0.5, B: 0.25; "An" and the rest do not count.
        let tokens = [("A", 0.3), (" A", 0.1), ("A)", 0.1), ("B", 0.25), ("An", 0.1), ("\n", 0.1)];
        weighs(&["A", "B"], &tokens, &[2.0 / 3.0, 1.0 / 3.0]);
        weighs(&[" A", "B"], &tokens, &[2.0 / 3.0, 1.0 / 3.0]);
        weighs(&["A", "B"], &[("▁A", 0.2), ("ĠB", 0.6)], &[0.25, 0.75]);
        weighs(&["A"], &tokens, &[1.0]);
    }

    #[test]
    fn a_token_stands_for_the_longest_option() {
        weighs(&["A", "A)"], &[("A", 0.5), ("A).", 0.25)], &[2.0 / 3.0, 1.0 / 3.0]);
        weighs(&["A", "A"], &[("A", 0.5)], &[0.5, 0.5]);
    }

    #[test]
    fn an_option_that_is_not_listed_gets_its_upper_bound() {
        // Less than the least listed, 0.15, and less than what is left, 0.05.
        weighs(&["A", "B"], &[("A", 0.6), ("x", 0.2), ("y", 0.15)], &[0.6 / 0.65, 0.05 / 0.65]);
        // Here the least listed is the smaller: 0.1 of 0.4 left.
        weighs(&["A", "B"], &[("A", 0.5), ("x", 0.1)], &[0.5 / 0.6, 0.1 / 0.6]);
        // Nothing is left.
        weighs(&["A", "B"], &[("A", 1.0)], &[1.0, 0.0]);
    }

    #[test]
    fn no_option_at_all_is_an_error() {
        let error = weigh_listed(&["A", "B"], &listed(&[("The", 0.9), ("I", 0.1)])).unwrap_err();
        assert!(error.to_string().contains("The"), "{error}");
        assert!(weigh_listed(&["A"], &[]).is_err());
        let impossible = [Listed { text: "A".to_owned(), log_prob: f64::NEG_INFINITY }];
        let error = weigh_listed(&["A"], &impossible).unwrap_err();
        assert!(matches!(error, Unweighable::Impossible { .. }));
    }

    #[test]
    fn an_option_of_several_tokens_is_an_error_if_it_matters() {
        let error = weigh_listed(&["yes", "never"], &listed(&[("yes", 0.5), ("ne", 0.4)]));
        let expected = Unweighable::SeveralTokens { option: "never".into(), token: "ne".into() };
        assert_eq!(error, Err(expected));
        // Its beginning is so unlikely that the bound will do: min(0.001, 1 - 0.991).
        weighs(&["yes", "never"], &[("yes", 0.99), ("ne", 0.001)], &[0.99 / 0.991, 0.001 / 0.991]);
    }

    fn scored(tokens: &[(&str, f64)]) -> Vec<Scored> {
        let score = |&(text, log_prob): &(&str, f64)| Scored { text: text.to_owned(), log_prob };
        tokens.iter().map(score).collect()
    }

    #[test]
    fn weighs_what_the_options_do_not_share() {
        let yes = scored(&[("Is", -9.0), (" it", -2.0), (" yes", -1.0)]);
        let never = scored(&[("Is", -9.0), (" it", -2.0), (" ne", -1.5), ("ver", -0.5)]);
        let found = weigh_sequences(&["yes", "never"], &[yes, never]).unwrap();
        let expected = 1.0 / (1.0 + (-1.0_f64).exp());
        assert!((found[0] - expected).abs() < 1e-12 && (found[0] + found[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn weighs_a_melted_end_of_the_prompt() {
        // "(A" is one token, "(" and "B" are two: ln 0.2 against ln 0.5 + ln 0.6 = ln 0.3.
        let a = scored(&[("is", -1.0), (" (A", 0.2_f64.ln())]);
        let b = scored(&[("is", -1.0), (" (", 0.5_f64.ln()), ("B", 0.6_f64.ln())]);
        let found = weigh_sequences(&["A", "B"], &[a, b]).unwrap();
        assert!((found[0] - 0.4).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn tiny_probabilities_do_not_vanish() {
        let a = scored(&[("x", -2000.0)]);
        let b = scored(&[("y", -2000.0 - 3.0_f64.ln())]);
        let found = weigh_sequences(&["x", "y"], &[a, b]).unwrap();
        assert!((found[0] - 0.75).abs() < 1e-9, "{found:?}");
        let never = |text| scored(&[(text, f64::NEG_INFINITY)]);
        assert!(weigh_sequences(&["x", "y"], &[never("x"), never("y")]).is_err());
        assert!(weigh_sequences(&[], &[]).is_err());
    }

    proptest! {
        #[test]
        fn rows_are_probabilities(
            tokens in prop::collection::vec(("[AB ]{0,2}[a-z)]?", -30.0_f64..0.1), 0..8),
            options in prop::collection::vec("[ABa-c]{1,2}", 1..4),
        ) {
            let listed: Vec<Listed> =
                tokens.into_iter().map(|(text, log_prob)| Listed { text, log_prob }).collect();
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            if let Ok(row) = weigh_listed(&options, &listed) {
                prop_assert_eq!(row.len(), options.len());
                prop_assert!(row.iter().all(|p| (0.0..=1.0).contains(p)));
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
        }
    }
}
