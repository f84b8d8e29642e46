//! What an HTTP answer about stored bytes says, without an HTTP library: every server answers alike.
//!
//! - [`Conditions`]: the request's validators and range, as RFC 9110 reads them; [`Conditions::answer`] chooses.
//! - [`etag`]: the validator, BLAKE3 of the stored bytes.
//! - [`problem`]: the body of an error (RFC 9457).
//! - [`batch`] and [`batch_item`]: `POST /v1/batch`, the socket's GET over HTTP.

use std::fmt::Write;
use std::ops::Range;

use crate::Hash;
use crate::frame::{MAX_BATCH, ServerFrame};

/// `Cache-Control` of a public object: any cache may keep it for ever, and nothing on the way may touch its bytes.
pub const IMMUTABLE: &str = "public, max-age=31536000, immutable, no-transform";

/// `Cache-Control` of a private object: only the reader's own cache may keep it.
pub const IMMUTABLE_PRIVATE: &str = "private, max-age=31536000, immutable, no-transform";

/// `Cache-Control` of a public tag record, which may change.
pub const SHORT_LIVED: &str = "public, max-age=60";

/// `Cache-Control` of a private tag record.
pub const SHORT_LIVED_PRIVATE: &str = "private, max-age=60";

/// `Content-Type` of an object.
pub const OBJECT_TYPE: &str = "application/vnd.vmdisk.object";

/// `Content-Type` of a batch's answer.
pub const FRAMES_TYPE: &str = "application/vnd.vmdisk.frames";

/// `Content-Type` of an error.
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// The longest body a batch request may have.
pub const BATCH_LIMIT: usize = 32 * MAX_BATCH;

/// Writes the strong validator of stored bytes. Not of the object: two stores may have compressed it differently, and
/// ranges must not mix.
pub fn etag(stored: &[u8]) -> String {
    format!("\"{}\"", Hash::of(stored))
}

/// The headers of a request that decide what part of a body is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `Range`.
    pub range: Option<&'a str>,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 304, no body.
    NotModified,
    /// 200, the whole body.
    All,
    /// 206, these bytes.
    Part(Range<usize>),
    /// 416.
    Unsatisfiable,
}

impl Conditions<'_> {
    /// Decides what a request for a body with this validator and length gets.
    pub fn answer(&self, etag: &str, len: usize) -> Answer {
        let matches = |list: &str| {
            list.split(',').any(|tag| matches!(tag.trim().trim_start_matches("W/"), tag if tag == etag || tag == "*"))
        };
        if self.if_none_match.is_some_and(matches) {
            return Answer::NotModified;
        }
        let same = self.if_range.is_none_or(|tag| tag == etag);
        self.range.filter(|_| same).map_or(Answer::All, |header| range(header, len))
    }
}

/// Reads a Range header. Several ranges, or what is not understood, ask for everything (RFC 9110 allows that).
fn range(header: &str, len: usize) -> Answer {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Answer::All;
    };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<usize>().ok()).flatten();
    let range = match (first.is_empty(), last.is_empty()) {
        (true, true) => return Answer::All,
        (true, false) => number(last).map(|suffix| (len.saturating_sub(suffix), len)),
        (false, true) => number(first).map(|first| (first, len)),
        (false, false) => number(first).zip(number(last)).map(|(first, last)| (first, last.saturating_add(1).min(len))),
    };
    match range {
        None => Answer::All,
        Some((first, end)) if first < end && end <= len => Answer::Part(first..end),
        Some(_) => Answer::Unsatisfiable,
    }
}

/// Writes the JSON body of an error. `detail` is in our own words; what JSON would have to escape is left out.
pub fn problem(status: u16, title: &str, detail: &str) -> String {
    let clean: String = detail.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
    let mut body = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(body, "{{\"status\":{status},\"title\":\"{title}\",\"detail\":\"{clean}\"}}");
    body
}

/// The detail of a 500 that is about the object: its stored bytes fail the server's check, past all caches. Any other 500 is
/// the server's own trouble, and passes.
pub const DAMAGED: &str = "the stored object is damaged";

/// Whether an answer says that the object is [`DAMAGED`].
pub fn tells_damage(status: u16, body: &[u8]) -> bool {
    let problem = || serde_json::from_slice::<serde_json::Value>(body).ok();
    status == 500 && problem().is_some_and(|problem| problem.get("detail").is_some_and(|detail| detail == DAMAGED))
}

/// Parses the body of a batch request: 1 to 64 hashes of 32 bytes, as in a GET frame.
pub fn batch(body: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = body.as_chunks::<32>();
    let fits = rest.is_empty() && (1..=MAX_BATCH).contains(&hashes.len());
    fits.then(|| hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect())
}

/// Writes one item of a batch's answer: `u32 length`, then the frame (BLOCK or ERROR of request 1, index into the batch).
pub fn batch_item(frame: &ServerFrame) -> Vec<u8> {
    let frame = frame.emit();
    let mut item = Vec::with_capacity(4 + frame.len());
    item.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
    item.extend_from_slice(&frame);
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_about_the_object_tells_damage() {
        assert!(tells_damage(500, problem(500, "Internal Server Error", DAMAGED).as_bytes()));
        for (status, body) in [(500, ""), (500, "<html>"), (502, DAMAGED), (500, r#"{"detail":"out of memory"}"#)] {
            assert!(!tells_damage(status, body.as_bytes()), "{status} {body}");
        }
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        for (header, expected) in [
            ("bytes=0-0", Answer::Part(0..1)),
            ("bytes=2-5", Answer::Part(2..6)),
            ("bytes=2-500", Answer::Part(2..10)),
            ("bytes=7-", Answer::Part(7..10)),
            ("bytes=-3", Answer::Part(7..10)),
            ("bytes=-30", Answer::Part(0..10)),
            ("bytes=10-", Answer::Unsatisfiable),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=5-2", Answer::Unsatisfiable),
            ("bytes=0-1,3-4", Answer::All),
            ("bytes=-", Answer::All),
            ("bytes=a-b", Answer::All),
            ("lines=1-2", Answer::All),
            ("bytes=99999999999999999999999-", Answer::All),
        ] {
            let conditions = Conditions { range: Some(header), ..Conditions::default() };
            assert_eq!(conditions.answer("\"x\"", 10), expected, "{header}");
        }
    }

    #[test]
    fn validators_come_before_ranges() {
        let etag = etag(b"stored");
        let weak = format!("\"other\", W/{etag}");
        let asked =
            |if_none_match, if_range| Conditions { if_none_match, if_range, range: Some("bytes=1-2") }.answer(&etag, 6);
        assert_eq!(asked(Some(&etag), None), Answer::NotModified);
        assert_eq!(asked(Some(&weak), None), Answer::NotModified);
        assert_eq!(asked(Some("*"), None), Answer::NotModified);
        assert_eq!(asked(Some("\"other\""), None), Answer::Part(1..3));
        assert_eq!(asked(None, Some(&etag)), Answer::Part(1..3));
        assert_eq!(asked(None, Some("\"other\"")), Answer::All);
    }

    #[test]
    fn a_batch_is_whole_hashes_and_not_too_many() {
        let hash = Hash::of(b"x");
        assert_eq!(batch(hash.as_bytes()), Some(vec![hash]));
        for bad in [0, 31, 33, 65 * 32] {
            assert_eq!(batch(&vec![0; bad]), None, "{bad}");
        }
        assert_eq!(batch(&[0; BATCH_LIMIT]).map(|hashes| hashes.len()), Some(MAX_BATCH));
        let pong = batch_item(&ServerFrame::Pong(7));
        assert_eq!(pong[..4], 16_u32.to_le_bytes());
        assert_eq!(pong.len(), 20);
    }

    #[test]
    fn a_problem_is_json_whatever_its_detail_holds() {
        let body = problem(404, "Not Found", "no \"such\\ thing\n");
        let parsed: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
        assert_eq!(parsed["detail"], "no such thing");
        assert_eq!(parsed["status"], 404);
    }
}
