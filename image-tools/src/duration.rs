//! Lengths of time on the command line.

use std::time::Duration;

/// Reads `180d`, `24h`, `30m` or `90s`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is no length of time; write it as 180d, 24h, 30m or 90s");
    let unit = text.chars().last().ok_or_else(error)?;
    let seconds = match unit {
        'd' => 24 * 60 * 60,
        'h' => 60 * 60,
        'm' => 60,
        's' => 1,
        _ => return Err(error()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or(text).parse().map_err(|_| error())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_to_seconds_are_read() {
        assert_eq!(parse("180d"), Ok(Duration::from_secs(180 * 86_400)));
        assert_eq!(parse("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!((parse("2m"), parse("0s")), (Ok(Duration::from_secs(120)), Ok(Duration::ZERO)));
        for bad in ["", "d", "10", "1w", "-1d", "1dd", "99999999999999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
