//! Which path is what, how its answer may be cached, and what a request's headers ask for. Every server uses it, so that
//! a client cannot tell them apart; what an answer about stored bytes says is in [`crate::http`].
//!
//! Paths are compared as they come: nothing is decoded or normalised, so a path with a trick in it is no path at all.

use crate::key::{self, Key, Prefix};
use crate::token::MAX_TOKEN;
use crate::{SOCKET_PATH, http, valid_name, valid_tag};

/// The query parameter that carries a token, so that a GET needs no header of its own and no preflight.
pub const TOKEN_PARAMETER: &str = "t";

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Something of the store.
    Key(Key),
    /// The WebSocket.
    Socket,
    /// Many objects at once.
    Batch,
}

/// Reads a path (without its query): `/<key>`, `/v1/o/<hash>`, `/v1/images/<name>/tags/<tag>`, `/v1/ws` and `/v1/batch`,
/// each also below `/p/<tenant>`.
pub fn route(path: &str) -> Option<(Prefix, Route)> {
    let path = path.strip_prefix('/')?;
    let (prefix, path) = match path.strip_prefix("p/") {
        None => (Prefix::public(), path),
        Some(rest) => {
            let (tenant, path) = rest.split_once('/')?;
            (Prefix::tenant(tenant)?, path)
        }
    };
    let Some(rest) = path.strip_prefix("v1/") else { return Some((prefix, Route::Key(key::parse(path)?))) };
    let route = match rest.split_once('/') {
        None if path == SOCKET_PATH => Route::Socket,
        None if rest == "batch" => Route::Batch,
        Some(("o", hex)) => Route::Key(Key::Object(hex.parse().ok()?)),
        Some(("images", rest)) => {
            let (name, tag) = rest.split_once("/tags/")?;
            (valid_name(name) && valid_tag(tag)).then_some(())?;
            Route::Key(Key::Tag { name: name.to_owned(), tag: tag.to_owned() })
        }
        _ => return None,
    };
    Some((prefix, route))
}

/// The Cache-Control of an answer.
pub fn cache_control(prefix: &Prefix, key: &Key) -> &'static str {
    match (key, prefix.is_public()) {
        (Key::Object(_), true) => http::IMMUTABLE,
        (Key::Object(_), false) => http::IMMUTABLE_PRIVATE,
        (Key::Tag { .. } | Key::Boots(_), true) => http::SHORT_LIVED,
        (Key::Tag { .. } | Key::Boots(_), false) => http::SHORT_LIVED_PRIVATE,
    }
}

/// The content type of an answer.
pub fn content_type(key: &Key) -> &'static str {
    match key {
        Key::Object(_) => http::OBJECT_TYPE,
        Key::Tag { .. } => "application/json",
        Key::Boots(_) => "application/octet-stream",
    }
}

/// Whether a request's Cache-Control says FRESH: `no-cache`, which is what `fetch` sends with `cache: "reload"`.
pub fn wants_fresh(cache_control: &str) -> bool {
    cache_control.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

/// The token of a request: of `Authorization: Bearer`, or of the query's parameter `t`.
pub fn token<'a>(authorization: Option<&'a str>, query: Option<&'a str>) -> Option<&'a str> {
    let bearer = authorization.and_then(|header| {
        let (scheme, token) = header.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    // A token's alphabet needs no decoding.
    let parameter = || query?.split('&').find_map(|pair| pair.strip_prefix(TOKEN_PARAMETER)?.strip_prefix('='));
    bearer.or_else(parameter).filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    #[test]
    fn paths_name_the_same_things_with_and_without_a_tenant() {
        let hash = Hash::of(b"x");
        let tag = || Route::Key(Key::Tag { name: "debian".into(), tag: "v1.2".into() });
        for (path, expected) in [
            (format!("/v1/o/{hash}"), Route::Key(Key::Object(hash))),
            (format!("/{}", key::object(&hash)), Route::Key(Key::Object(hash))),
            ("/v1/images/debian/tags/v1.2".into(), tag()),
            ("/t/debian/v1.2.json".into(), tag()),
            (format!("/b/{hash}"), Route::Key(Key::Boots(hash))),
            ("/v1/ws".into(), Route::Socket),
            ("/v1/batch".into(), Route::Batch),
        ] {
            assert_eq!(route(&path), Some((Prefix::public(), expected.clone())), "{path}");
            let acme = Prefix::tenant("acme").expect("a name");
            assert_eq!(route(&format!("/p/acme{path}")), Some((acme, expected)), "{path}");
        }
    }

    #[test]
    fn tricks_are_no_paths() {
        let hash = Hash::of(b"x");
        let hex = hash.to_string();
        for path in [
            String::new(),
            "/".into(),
            "//v1/ws".into(),
            "/v1/ws/".into(),
            "/v1//ws".into(),
            "/V1/ws".into(),
            "/v1/../v1/ws".into(),
            "/v1/%77s".into(),
            format!("/v1/o/{}", hex.to_uppercase()),
            format!("/v1/o/{hex}/"),
            format!("/v1/o/{hex}%00"),
            format!("/o/zz/{hex}"),
            format!("/p/../o/{}/{hex}", &hex[..2]),
            format!("/p//o/{}/{hex}", &hex[..2]),
            format!("/p/a%2fb/o/{}/{hex}", &hex[..2]),
            format!("/p/a/p/b/v1/o/{hex}"),
            "/v1/images/../tags/x".into(),
            "/v1/images/a/b/tags/x".into(),
            "/v1/images/a/tags/x/tags/y".into(),
            "/t/a/../../secret.json".into(),
        ] {
            assert_eq!(route(&path), None, "{path}");
        }
    }

    #[test]
    fn tokens_are_found_where_they_may_be() {
        assert_eq!(token(Some("Bearer abc"), Some("t=x")), Some("abc"));
        assert_eq!(token(Some("Basic abc"), Some("a=1&t=x-_9&b=2")), Some("x-_9"));
        assert_eq!(token(None, Some("tt=x")), None);
        assert_eq!(token(None, Some("t=")), None);
        assert_eq!(token(None, None), None);
    }

    #[test]
    fn request_headers_say_what_they_want() {
        assert!(wants_fresh("no-cache") && wants_fresh("max-age=0, No-Cache"));
        assert!(!wants_fresh("max-age=0") && !wants_fresh("no-cached"));
    }

    #[test]
    fn what_is_private_is_cached_by_nobody_else() {
        let acme = Prefix::tenant("acme").expect("a name");
        for key in [Key::Object(Hash::of(b"x")), Key::Boots(Hash::of(b"x"))] {
            assert!(cache_control(&acme, &key).starts_with("private"));
            assert!(cache_control(&Prefix::public(), &key).starts_with("public"));
        }
    }
}
