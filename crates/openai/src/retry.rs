//! How long to wait before another attempt.

use crate::Config;
use crate::config::duration;
use rand::Rng;
use std::time::{Duration, SystemTime};

/// The wait before attempt `attempt + 2`, where `attempt` counts failures from 0: uniform between 0 and
/// `backoff_seconds * 2^attempt`, at most `backoff_limit_seconds`. Waits that differ keep many requests that failed
/// together from coming back together.
pub(crate) fn backoff(config: &Config, attempt: u32, rng: &mut impl Rng) -> Duration {
    duration(longest_seconds(config, attempt) * rng.random::<f64>())
}

/// The longest that [`backoff`] can be.
pub(crate) fn longest_backoff(config: &Config, attempt: u32) -> Duration {
    duration(longest_seconds(config, attempt))
}

fn longest_seconds(config: &Config, attempt: u32) -> f64 {
    let exponent = i32::try_from(attempt.min(60)).unwrap_or(60);
    (config.backoff_seconds * 2_f64.powi(exponent)).min(config.backoff_limit_seconds)
}

/// The wait that a `Retry-After` header asks for, in seconds or as a date; `None` if it is neither.
pub(crate) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return (seconds >= 0.0).then(|| duration(seconds));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// The wait before another attempt: what the server asks for, up to the limit, or else the back-off.
pub(crate) fn wait(
    config: &Config,
    attempt: u32,
    asked: Option<Duration>,
    rng: &mut impl Rng,
) -> Duration {
    match asked {
        Some(asked) => asked.min(duration(config.retry_after_limit_seconds)),
        None => backoff(config, attempt, rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use language_model::stream;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waits_stay_below_their_bound(attempt in 0_u32..200, seed in any::<u64>()) {
            let config = Config::default();
            let wait = backoff(&config, attempt, &mut stream(seed)).as_secs_f64();
            let bound = if attempt >= 6 { 30.0 } else { 0.5 * f64::from(1_u32 << attempt) };
            prop_assert!((0.0..=bound).contains(&wait));
        }

        #[test]
        fn any_header_is_read_or_not(header in "\\PC{0,40}") {
            let _ = retry_after(&header, SystemTime::now());
        }
    }

    #[test]
    fn the_same_seed_waits_the_same_and_others_spread() {
        let config = Config::default();
        let waits: Vec<Duration> =
            (0..1000).map(|seed| backoff(&config, 3, &mut stream(seed))).collect();
        assert_eq!(waits[7], backoff(&config, 3, &mut stream(7)));
        let mean = waits.iter().map(Duration::as_secs_f64).sum::<f64>() / 1000.0;
        // Uniform from 0 to 4 seconds: mean 2, standard error 0.037.
        assert!((mean - 2.0).abs() < 0.15, "{mean}");
    }

    #[test]
    fn reads_seconds_and_dates() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |header| retry_after(header, now).map(|wait| wait.as_secs_f64());
        assert_eq!(after("7"), Some(7.0));
        assert_eq!(after(" 0.25 "), Some(0.25));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30.0));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0.0));
        for wrong in ["-1", "soon", "", "nan"] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_server_asks_for_has_a_limit() {
        let config = Config::default();
        let wait = |asked| wait(&config, 0, Some(Duration::from_secs(asked)), &mut stream(1));
        assert_eq!(wait(7), Duration::from_secs(7));
        assert_eq!(wait(86_400), Duration::from_mins(2));
    }
}
