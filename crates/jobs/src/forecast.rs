//! Labels against what is known of their pairs.

use ai_feedback::Label;
use evals::{Error, Forecast};

/// What a label foretells of a pair of which `truth` is known, the probability that (A) is better: the event is that the
/// reply which the judge prefers is the better one.
///
/// None if the pair was asked about in one order alone: where the better reply is always shown first, a judge that always
/// takes the first would be right.
///
/// # Errors
/// [`Error::Number`] if one of both probabilities is not from 0 to 1.
pub fn forecast(label: &Label, truth: f64) -> Result<Option<Forecast>, Error> {
    if label.judgements().any(|judged| judged.orders.len() < 2) {
        return Ok(None);
    }
    let probability_a = label.probability_a;
    let forecast = if probability_a >= 0.5 {
        Forecast::new(probability_a, truth)
    } else {
        Forecast::new(1.0 - probability_a, 1.0 - truth)
    };
    forecast.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ai_feedback::{OrderLabel, PrincipleLabel};
    use dialogue::{Comparison, Dialogue};

    fn label(probability_a: f64, orders: usize) -> Label {
        let order = OrderLabel { probability_of_first: 0.5, answers: Vec::new() };
        let judged = |probe, orders| PrincipleLabel {
            id: "law".to_owned(),
            text: "Which is lawful?".to_owned(),
            probability_a,
            probe,
            orders: vec![order.clone(); orders],
        };
        let replies = ["a", "b"].map(str::to_owned);
        Label {
            id: "1".to_owned(),
            pair: Comparison { prompt: Dialogue::from_user("q"), replies },
            probability_a,
            principles: vec![judged(false, orders), judged(true, 1)],
        }
    }

    #[test]
    fn the_event_is_that_the_preferred_reply_is_the_better_one() {
        for (probability_a, truth, expected) in
            [(0.75, 1.0, (0.75, 1.0)), (0.25, 1.0, (0.75, 0.0)), (0.5, 0.25, (0.5, 0.25))]
        {
            let expected = Forecast::new(expected.0, expected.1).unwrap();
            assert_eq!(forecast(&label(probability_a, 2), truth).unwrap(), Some(expected));
        }
        let error = forecast(&label(0.25, 2), 1.5).unwrap_err().to_string();
        assert!(error.contains("outcome"), "{error}");
    }

    #[test]
    fn one_order_says_nothing_and_a_probe_does_not_count() {
        assert_eq!(forecast(&label(0.75, 1), 1.0).unwrap(), None);
    }
}
