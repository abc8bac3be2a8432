//! Time spans as systemd.time(7) writes them: `5min 20s`, `1.5h`, `90`, `infinity`.

use std::time::Duration;

/// Units in microseconds. systemd's month is a twelfth of its year of 365.25 days.
const UNITS: &[(&[&str], f64)] = &[
    (&["usec", "us", "\u{b5}s", "\u{3bc}s"], 1.0),
    (&["msec", "ms"], 1e3),
    (&["seconds", "second", "sec", "s", ""], 1e6),
    (&["minutes", "minute", "min", "m"], 60e6),
    (&["hours", "hour", "hr", "h"], 3600e6),
    (&["days", "day", "d"], 86_400e6),
    (&["weeks", "week", "w"], 604_800e6),
    (&["months", "month", "M"], 2_629_800e6),
    (&["years", "year", "y"], 31_557_600e6),
];

/// The longest span that is told from `infinity`: a thousand years.
const LONGEST: f64 = 1000.0 * 31_557_600e6;

/// Reads a span; without a unit a number means seconds. `infinity` is `None`.
///
/// # Errors
///
/// What is wrong with it, for a person.
pub fn parse(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || format!("{text:?} is no time span; write for example 5min, \"1h 30min\", 90");
    let text = text.trim();
    if text == "infinity" {
        return Ok(None);
    }
    let mut rest = text;
    let mut micros = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|sign: char| !sign.is_ascii_digit() && sign != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|sign: char| sign.is_ascii_digit() || sign.is_whitespace())
            .unwrap_or(rest.len());
        let unit = &rest[..letters];
        let (_, factor) = UNITS
            .iter()
            .find(|(names, _)| names.contains(&unit))
            .ok_or_else(wrong)?;
        micros += number * factor;
        rest = rest[letters..].trim_start();
    }
    if text.is_empty() || micros > LONGEST {
        return Err(wrong());
    }
    Ok(Some(Duration::from_secs_f64(micros / 1e6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_systemd_time() {
        for (text, millis) in [
            ("90", 90_000),
            ("5min 20s", 320_000),
            ("5min20s", 320_000),
            ("1.5h", 5_400_000),
            ("2 h", 7_200_000),
            ("55s500ms", 55_500),
            ("300ms20s 5day", 432_020_300),
            ("1M", 2_629_800_000),
            ("1m", 60_000),
            ("0", 0),
            (" 1min ", 60_000),
        ] {
            let span = parse(text).expect(text).expect(text);
            assert_eq!(span.as_millis(), millis, "{text}");
        }
        assert_eq!(parse("infinity"), Ok(None));
    }

    #[test]
    fn what_is_no_span() {
        for text in [
            "",
            " ",
            "min",
            "5 parsecs",
            "-1s",
            "1..5s",
            "1e3",
            "inf",
            "2000y",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
