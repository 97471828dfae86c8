//! Which settings a job of requests takes.

use crate::{Error, Job};
use red_team::GenerationConfig;

/// The settings with a call a list, since how many lists are asked for together decides nothing here.
pub(super) fn of_calls(job: &Job, config: GenerationConfig) -> Result<GenerationConfig, Error> {
    config.validate()?;
    let wrong = |setting, found, expected| Err(Error::Setting { setting, found, expected });
    if let Some(shard) = job.shard {
        let expected = "none: whether a request is new depends on all those before it, so that the job cannot be split";
        return wrong("shard", shard.to_string(), expected);
    }
    if job.retry_failed {
        let expected = "false: the calls that follow take the place of one that has failed";
        return wrong("retry_failed", "true".to_owned(), expected);
    }
    if config.requests == 0 {
        return wrong("requests", "0".to_owned(), "a whole number of at least 1");
    }
    let max_calls = config.max_calls.saturating_mul(config.batch);
    Ok(GenerationConfig { batch: 1, max_calls, ..config })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused_with_its_reason() {
        let job = Job::new("in", "out");
        let config = GenerationConfig::default;
        let message = |job: &Job, config| of_calls(job, config).unwrap_err().to_string();
        let shard = Job { shard: "1/2".parse().ok(), ..job.clone() };
        assert!(message(&shard, config()).contains("`shard` is 1/2, expected none: whether"));
        let retry = Job { retry_failed: true, ..job.clone() };
        assert!(message(&retry, config()).contains("`retry_failed` is true"));
        let none = GenerationConfig { requests: 0, ..config() };
        assert!(message(&job, none).contains("`requests` is 0"));
        let wrong = GenerationConfig { shots: 0, ..config() };
        assert!(message(&job, wrong).contains("`shots` is 0"));
    }

    #[test]
    fn a_call_is_a_list() {
        let job = Job::new("in", "out");
        let lists = |batch, max_calls| {
            let config = GenerationConfig { batch, max_calls, ..Default::default() };
            of_calls(&job, config).unwrap()
        };
        assert_eq!(lists(8, 30), lists(1, 240));
        assert_eq!(lists(usize::MAX, 2).max_calls, usize::MAX);
    }
}
