//! The Range header, as far as one range goes.

use std::ops::Range;

/// What a Range header asks of a body of a known length.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: no header, several ranges, or one that is not understood (RFC 9110 lets a server ignore those).
    All,
    /// These bytes.
    Part(Range<usize>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads a Range header.
pub(crate) fn parse(header: &str, len: usize) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
    let range = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Wanted::All,
        (true, false) => number(last).map(|suffix| (len.saturating_sub(suffix), len)),
        (false, true) => number(first).map(|first| (first, len)),
        (false, false) => number(first).zip(number(last)).map(|(first, last)| (first, last.saturating_add(1).min(len))),
    };
    match range {
        None => Wanted::All,
        Some((first, end)) if first < end && end <= len => Wanted::Part(first..end),
        Some(_) => Wanted::Unsatisfiable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_rfc_9110() {
        for (header, expected) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-5", Wanted::Part(2..6)),
            ("bytes=2-500", Wanted::Part(2..10)),
            ("bytes=7-", Wanted::Part(7..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Unsatisfiable),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=a-b", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("bytes=99999999999999999999999-", Wanted::All),
        ] {
            assert_eq!(parse(header, 10), expected, "{header}");
        }
    }
}
