//! Permission to read a private image, and where it is shown.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest token that fits into HELLO.
const MOST: usize = 1024;

/// A token as its issuer wrote it: base64url. A secret, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

/// The text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to {MOST} characters of A-Z, a-z, 0-9, - and _")]
pub struct TokenTextError;

impl Token {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl FromStr for Token {
    type Err = TokenTextError;

    fn from_str(text: &str) -> Result<Self, TokenTextError> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let sound = (1..=MOST).contains(&text.len()) && text.bytes().all(known);
        if sound { Ok(Self(text.into())) } else { Err(TokenTextError) }
    }
}

/// Base URLs that have an image's objects, and what opens them.
#[derive(Clone, Debug)]
pub(super) struct Bases {
    urls: Vec<String>,
    pub(super) token: Option<Token>,
}

impl Bases {
    pub(super) fn new(store: &str, token: Option<Token>) -> Self {
        Self { urls: vec![format!("{}/", store.trim_end_matches('/'))], token }
    }

    /// Adds places that the store names. A token was given for the store alone: nobody else is shown it, so with one there are
    /// no other places.
    pub(super) fn add(&mut self, endpoints: &[String]) {
        if self.token.is_none() {
            let web = endpoints.iter().filter(|url| url.starts_with("https://") || url.starts_with("http://"));
            self.urls.extend(web.map(|url| format!("{}/", url.trim_end_matches('/'))));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.urls.len()
    }

    /// A base's URL, for people.
    pub(super) fn name(&self, base: usize) -> &str {
        self.urls.get(base).map_or("", String::as_str)
    }

    /// Where to get a key from a base. The token is in the query, as in no header: then browsers need not ask first.
    pub(super) fn url(&self, base: usize, key: &str) -> String {
        let query = self.token.as_ref().map_or(String::new(), |token| format!("?t={}", token.text()));
        format!("{}{key}{query}", self.name(base))
    }

    /// What went wrong, without the token.
    pub(super) fn hide(&self, text: &impl fmt::Display) -> String {
        let text = text.to_string();
        match &self.token {
            Some(token) => text.replace(token.text(), "..."),
            None => text,
        }
    }
}

/// Whether an answer is a page for people: a network's log-in page, say, that stands before everything. No object and no
/// record begins like one.
pub(super) fn is_web_page(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.trim_ascii_start().first() == Some(&b'<')
}

/// What to say of such an answer.
pub(super) const WEB_PAGE: &str = "a web page came instead: does this network want a log-in?";

/// What to say when a store wants a token, or another one.
pub(super) fn refusal(token: Option<&Token>) -> &'static str {
    match token {
        Some(_) => "the store does not accept the token (any more)",
        None => "the store wants a token",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_one_word_and_never_printed() {
        for bad in ["", "a b", "a&x=1", "a=", &"a".repeat(1025)] {
            assert_eq!(bad.parse::<Token>(), Err(TokenTextError));
        }
        let token: Token = "AQ-_z".parse().expect("a token");
        assert_eq!(format!("{token:?}"), "Token(..)");
        let mut bases = Bases::new("https://a.test/p/acme", Some(token));
        bases.add(&["https://b.test".to_owned()]);
        assert_eq!((bases.len(), &*bases.url(0, "o/x")), (1, "https://a.test/p/acme/o/x?t=AQ-_z"));
        assert_eq!(bases.hide(&"https://a.test/o/x?t=AQ-_z: reset"), "https://a.test/o/x?t=...: reset");
    }

    #[test]
    fn pages_are_told_from_objects_and_records() {
        for page in [&b"<!DOCTYPE html><title>Log in</title>"[..], b"\xef\xbb\xbf\r\n <html>", b"  <?xml"] {
            assert!(is_web_page(page));
        }
        for other in [&b""[..], b"\0\0\0\0", b"\x01\0\0\0<", b"{\"name\":\"<\"}", b" \n"] {
            assert!(!is_web_page(other));
        }
    }
}
