//! The day that a template may ask for.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;

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
const WEEKDAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A day of the Gregorian calendar, from the year 1000 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    year: i64,
    /// From 1 on.
    month: usize,
    day: usize,
}

/// No day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a day such as 2025-07-26")]
pub struct DateError;

impl Date {
    /// Today, in UTC.
    pub fn today() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::of(since.map_or(0, |time| time.as_secs() / 86_400) as i64)
    }

    /// The day so many days after 1970-01-01: by eras of 400 years that begin in March (Howard Hinnant,
    /// "chrono-compatible low-level date algorithms", `civil_from_days`).
    fn of(days: i64) -> Self {
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        Self {
            year: year + era * 400 + i64::from(month <= 2),
            month: month as usize,
            day: day as usize,
        }
    }

    /// Days after 1970-01-01: `days_from_civil` there.
    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
        let month = (self.month as i64 + 9) % 12;
        let day = (153 * month + 2) / 5 + self.day as i64 - 1;
        era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468
    }

    /// What C's `strftime` makes of a format, in the C locale.
    ///
    /// # Errors
    /// A directive that is not about the day, or not known here.
    pub(super) fn format(self, format: &str) -> Result<String, String> {
        // 1970-01-01 was a Thursday.
        let weekday = WEEKDAYS[(self.days() + 3).rem_euclid(7) as usize];
        let month = MONTHS[self.month - 1];
        let mut text = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            let directive = chars.next();
            text += &match directive {
                Some('Y') => self.year.to_string(),
                Some('y') => format!("{:02}", self.year % 100),
                Some('m') => format!("{:02}", self.month),
                Some('d') => format!("{:02}", self.day),
                Some('e') => format!("{:2}", self.day),
                Some('B') => month.to_string(),
                Some('b' | 'h') => month[..3].to_string(),
                Some('A') => weekday.to_string(),
                Some('a') => weekday[..3].to_string(),
                Some('F') => self.to_string(),
                Some('%') => "%".to_string(),
                Some('-') => match chars.next() {
                    Some('m') => self.month.to_string(),
                    Some('d') => self.day.to_string(),
                    other => return Err(format!("%-{}", String::from_iter(other))),
                },
                other => return Err(format!("%{}", String::from_iter(other))),
            };
        }
        Ok(text)
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let digits = |text: &str, count: usize| match text.len() == count {
            true if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().map_err(|_| DateError),
            _ => Err(DateError),
        };
        let mut parts = text.splitn(3, '-');
        let mut part = |count| digits(parts.next().unwrap_or_default(), count);
        let [year, month, day] = [part(4)?, part(2)?, part(2)?];
        let date = Self {
            year: year as i64,
            month,
            day,
        };
        let valid = year >= 1000 && (1..=12).contains(&month) && (1..=31).contains(&day);
        match valid && Self::of(date.days()) == date {
            true => Ok(date),
            false => Err(DateError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known days, among them leap days and the century that has none.
    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, date, text) in [
            (0, "1970-01-01", "Thursday, January 1, 1970"),
            (11_016, "2000-02-29", "Tuesday, February 29, 2000"),
            (20_295, "2025-07-26", "Saturday, July 26, 2025"),
            (47_540, "2100-02-28", "Sunday, February 28, 2100"),
            (47_541, "2100-03-01", "Monday, March 1, 2100"),
        ] {
            let read: Date = date.parse().expect(date);
            assert_eq!((read.days(), Date::of(days)), (days, read), "{date}");
            assert_eq!(read.format("%A, %B %-d, %Y").expect("known"), text);
            assert_eq!(read.to_string(), date);
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "today",
            "2025-7-26",
            "2025-07-32",
            "2025-02-29",
            "2100-02-29",
            "0999-01-01",
            "2025-00-10",
            "2025-13-01",
            "2025-07-26T00",
            "+025-07-26",
            "2025-07-26-1",
        ] {
            assert_eq!(text.parse::<Date>(), Err(DateError), "{text}");
        }
    }

    /// The hour would be another one for the verifier.
    #[test]
    fn a_format_is_about_the_day() {
        let day: Date = "2025-07-06".parse().expect("a day");
        assert_eq!(day.format("%d %b %Y").as_deref(), Ok("06 Jul 2025"));
        assert_eq!(
            day.format("%a %e.%-m.%y %% %F").as_deref(),
            Ok("Sun  6.7.25 % 2025-07-06")
        );
        for (format, refused) in [("%H:%M", "%H"), ("%c", "%c"), ("%", "%"), ("%-H", "%-H")] {
            assert_eq!(day.format(format), Err(refused.to_string()));
        }
    }
}
