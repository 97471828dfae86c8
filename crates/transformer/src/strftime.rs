//! Dates the way Python's `strftime` writes them.

use jiff::{Timestamp, fmt::strtime, tz::TimeZone};
use std::time::SystemTime;

/// Writes `time` in UTC by a `strftime` format.
///
/// # Errors
/// Says which code of the format is not supported.
pub(crate) fn format_time(time: SystemTime, format: &str) -> Result<String, String> {
    let wrong = |error: jiff::Error| format!("strftime_now cannot write `{format}`: {error}");
    let time = Timestamp::try_from(time).map_err(wrong)?;
    let time = time.to_zoned_datetime(TimeZone::UTC);
    strtime::format(format, &time).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn written(seconds: u64, format: &str) -> Result<String, String> {
        format_time(UNIX_EPOCH + Duration::from_secs(seconds), format)
    }

    #[test]
    fn writes_known_dates() {
        // Checked with `date -u -d @SECONDS`.
        let cases = [
            (0, "Thu 01 Jan 1970 00:00:00 001"),
            (951_782_399, "Mon 28 Feb 2000 23:59:59 059"),
            (951_868_799, "Tue 29 Feb 2000 23:59:59 060"),
            (1_735_689_599, "Tue 31 Dec 2024 23:59:59 366"),
            (4_107_542_400, "Mon 01 Mar 2100 00:00:00 060"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(written(seconds, "%a %d %b %Y %H:%M:%S %j").as_deref(), Ok(expected));
        }
        assert_eq!(written(0, "%A, %B %-d, %y; %-m/%d %I %p %%").unwrap(), {
            "Thursday, January 1, 70; 1/01 12 AM %"
        });
        assert_eq!(written(13 * 3600, "%-I %p").unwrap(), "1 PM");
        assert_eq!(written(61, "%F %T %D %R %e %h %u %w %s").unwrap(), {
            "1970-01-01 00:01:01 01/01/70 00:01  1 Jan 4 4 61"
        });
    }

    #[test]
    fn a_code_that_is_not_known_is_an_error() {
        for format in ["%E", "%!", "100%"] {
            let error = written(0, format).unwrap_err();
            assert!(error.contains(&format!("cannot write `{format}`")), "{error}");
        }
    }
}
