//! Dates the way Python's `strftime` writes them.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A moment in UTC.
struct Moment {
    year: u64,
    /// 0 is January.
    month: usize,
    /// 1 is the first.
    day: u64,
    /// 1 is the first of January.
    day_of_year: u64,
    /// 0 is Sunday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Writes `time` in UTC by a `strftime` format. Times before 1970 count as 1970.
///
/// # Errors
/// Names the first code that is not supported.
pub(crate) fn format_time(time: SystemTime, format: &str) -> Result<String, String> {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let moment = Moment::from_unix(seconds);
    let mut text = String::with_capacity(format.len() + 16);
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        let (padded, code) = match characters.next() {
            Some('-') => (false, characters.next()),
            code => (true, code),
        };
        let written = code.and_then(|code| moment.code(code)).ok_or_else(|| {
            format!("strftime_now does not support `%{}`", code.map_or(String::new(), String::from))
        })?;
        text.push_str(if padded { &written } else { unpadded(&written) });
    }
    Ok(text)
}

/// A number without its leading zeros.
fn unpadded(number: &str) -> &str {
    let stripped = number.trim_start_matches('0');
    if stripped.is_empty() && !number.is_empty() { "0" } else { stripped }
}

impl Moment {
    fn from_unix(seconds: u64) -> Self {
        let (mut days, seconds) = (seconds / 86_400, seconds % 86_400);
        let weekday = (days + 4) % 7; // 1970 began on a Thursday
        let mut year = 1970;
        while days >= days_in_year(year) {
            days -= days_in_year(year);
            year += 1;
        }
        let day_of_year = days + 1;
        let mut month = 0;
        while days >= days_in_month(year, month) {
            days -= days_in_month(year, month);
            month += 1;
        }
        Self {
            year,
            month,
            day: days + 1,
            day_of_year,
            weekday: usize::try_from(weekday).unwrap_or(0),
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    fn code(&self, code: char) -> Option<String> {
        let (month, day) = (MONTHS[self.month], DAYS[self.weekday]);
        Some(match code {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year % 100),
            'm' => format!("{:02}", self.month + 1),
            'd' => format!("{:02}", self.day),
            'j' => format!("{:03}", self.day_of_year),
            'B' => month.to_owned(),
            'b' => month[..3].to_owned(),
            'A' => day.to_owned(),
            'a' => day[..3].to_owned(),
            'H' => format!("{:02}", self.hour),
            'I' => format!("{:02}", (self.hour + 11) % 12 + 1),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'M' => format!("{:02}", self.minute),
            'S' => format!("{:02}", self.second),
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_in_month(year: u64, month: usize) -> u64 {
    match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
    }

    #[test]
    fn names_an_unknown_code() {
        assert_eq!(written(0, "%Q").unwrap_err(), "strftime_now does not support `%Q`");
        assert_eq!(written(0, "100%").unwrap_err(), "strftime_now does not support `%`");
    }
}
