//! Who hears of a server that does not answer.

use crate::retry::longest_backoff;
use crate::{Config, Failure};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two tellings.
const PAUSE: Duration = Duration::from_mins(1);

/// A server that does not answer and is asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// The server.
    pub url: String,
    /// Why the last attempt failed.
    pub failure: Failure,
    /// Attempts at the same request that are left.
    pub attempts: u32,
    /// The longest time that the pauses before them take together.
    pub pauses: Duration,
}

impl fmt::Display for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, failure, attempts, pauses } = self;
        let times = if *attempts == 1 { "once more" } else { "more times" };
        let number = if *attempts == 1 { String::new() } else { format!("{attempts} ") };
        let seconds = pauses.as_secs_f64().ceil();
        write!(
            f,
            "{url} does not answer: {failure}; it is asked {number}{times}, with pauses of up to {seconds} seconds in all"
        )
    }
}

type Tell = Arc<dyn Fn(&Retrying) + Send + Sync>;

/// Tells of retries, at most once a minute.
#[derive(Clone, Default)]
pub(crate) struct Listener {
    tell: Option<Tell>,
    told: Arc<Mutex<Option<Instant>>>,
}

impl Listener {
    pub(crate) fn new(tell: impl Fn(&Retrying) + Send + Sync + 'static) -> Self {
        Self { tell: Some(Arc::new(tell)), told: Arc::default() }
    }

    /// `attempt` counts failures of the request from 0.
    pub(crate) fn hear(&self, url: &str, failure: &Failure, attempt: u32, config: &Config) {
        let Some(tell) = &self.tell else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < PAUSE) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        let pauses = (attempt..config.attempts.saturating_sub(1))
            .map(|attempt| longest_backoff(config, attempt))
            .fold(Duration::ZERO, Duration::saturating_add);
        let attempts = config.attempts.saturating_sub(attempt + 1);
        tell(&Retrying { url: url.to_owned(), failure: failure.clone(), attempts, pauses });
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_once_a_minute_what_is_left() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let listener = Listener::new(move |retrying| hears.lock().unwrap().push(retrying.clone()));
        let failure = Failure::Connection("refused".to_owned());
        let config = Config { attempts: 4, ..Config::default() };
        for attempt in 0..3 {
            listener.clone().hear("http://h/v1", &failure, attempt, &config);
        }
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1);
        // 0.5 + 1 + 2 seconds.
        assert_eq!((heard[0].attempts, heard[0].pauses), (3, Duration::from_secs_f64(3.5)));
        let said = heard[0].to_string();
        for part in ["http://h/v1", "refused", "3 more times", "4 seconds"] {
            assert!(said.contains(part), "{said}");
        }
        let last = Retrying { attempts: 1, ..heard[0].clone() };
        assert!(last.to_string().contains("asked once more"), "{last}");
    }
}
