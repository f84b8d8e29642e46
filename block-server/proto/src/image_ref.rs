//! Naming an image: `STORE_OR_URL/name[@tag|@b3:HASH]`.

use std::fmt;
use std::str::FromStr;

use crate::Hash;

/// The tag meant when none is given.
const DEFAULT_TAG: &str = "latest";

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    /// Below an `http:` or `https:` URL, without a slash at the end. `ws:` and `wss:` are read as these.
    Url(String),
    /// A directory; in a browser, a path relative to the page.
    Path(String),
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(text) | Self::Path(text) => f.write_str(text),
        }
    }
}

/// Which version of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Whatever the tag points to now.
    Tag(String),
    /// Exactly this manifest, for ever.
    Manifest(Hash),
}

/// The name of an image in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    /// Where it is.
    pub store: Store,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
}

/// The text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no image: {reason} (expected STORE_OR_URL/name[@tag|@b3:HASH])")]
pub struct ImageRefError {
    text: String,
    reason: &'static str,
}

/// Tells whether an image may have this name: lower-case letters, digits, `.`, `_`, `-`, at most 128, first a letter or digit.
pub fn valid_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 128
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// Tells whether a tag may be spelled so: letters, digits, `.`, `_`, `-`, at most 128, first not `.` or `-`.
pub fn valid_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        let fail = |reason| ImageRefError { text: text.to_owned(), reason };
        let (store, image) = text.rsplit_once('/').ok_or_else(|| fail("the store is missing"))?;
        if text.contains("://") && !store.contains("://") {
            return Err(fail("the URL ends without an image's name"));
        }
        let (name, version) = match image.split_once('@') {
            None => (image, Version::Tag(DEFAULT_TAG.to_owned())),
            Some((name, version)) => match version.strip_prefix("b3:") {
                Some(hex) => {
                    let hash = hex.parse().map_err(|_| fail("after b3: come 64 lower-case hex digits"))?;
                    (name, Version::Manifest(hash))
                }
                None if valid_tag(version) => (name, Version::Tag(version.to_owned())),
                None => return Err(fail("a tag is made of letters, digits, `.`, `_` and `-`")),
            },
        };
        if !valid_name(name) {
            return Err(fail("a name is made of lower-case letters, digits, `.`, `_` and `-`"));
        }
        let store = parse_store(store).map_err(fail)?;
        Ok(Self { store, name: name.to_owned(), version })
    }
}

fn parse_store(text: &str) -> Result<Store, &'static str> {
    let Some((scheme, rest)) = text.split_once("://") else {
        // `/name` is a store at the root, not an empty path.
        let trimmed = text.trim_end_matches('/');
        return Ok(Store::Path(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }));
    };
    let scheme = match scheme {
        "http" | "ws" => "http",
        "https" | "wss" => "https",
        _ => return Err("a store's URL begins with http: or https:"),
    };
    let rest = rest.trim_end_matches('/');
    if rest.is_empty() || rest.starts_with('/') {
        return Err("the URL has no host");
    }
    if rest.contains(['?', '#']) {
        return Err("a store's URL has no query and no fragment");
    }
    Ok(Store::Url(format!("{scheme}://{rest}")))
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = self.store.to_string();
        write!(f, "{}/{}", store.trim_end_matches('/'), self.name)?;
        match &self.version {
            Version::Tag(tag) => write!(f, "@{tag}"),
            Version::Manifest(hash) => write!(f, "@b3:{hash}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_paths_tags_and_hashes_parse_and_print() {
        let hash = Hash::of(b"root");
        let pinned = format!("https://disks.example.org/a/debian@b3:{hash}");
        for (text, store, printed) in [
            ("store/debian", Store::Path("store".into()), "store/debian@latest"),
            ("/srv/a b/debian@v1", Store::Path("/srv/a b".into()), "/srv/a b/debian@v1"),
            ("/debian", Store::Path("/".into()), "/debian@latest"),
            (
                "http://127.0.0.1:80/debian",
                Store::Url("http://127.0.0.1:80".into()),
                "http://127.0.0.1:80/debian@latest",
            ),
            ("wss://x.org//debian", Store::Url("https://x.org".into()), "https://x.org/debian@latest"),
            (&pinned, Store::Url("https://disks.example.org/a".into()), &pinned),
        ] {
            let image: ImageRef = text.parse().expect(text);
            assert_eq!(image.store, store);
            assert_eq!(image.to_string(), printed);
            assert_eq!(printed.parse(), Ok(image));
        }
    }

    #[test]
    fn whatever_parses_prints_as_something_that_parses_to_the_same() {
        let pieces = ["http", "s", ":", "//", "/", "a", "b.c", "@", "b3:", "..", "?", " ", "ws", "0123456789abcdef"];
        let mut state = 5_u32;
        let mut good = 0;
        for _ in 0..200_000 {
            let mut text = String::new();
            for _ in 0..1 + (state >> 29) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[(state >> 16) as usize % pieces.len()]);
            }
            if let Ok(image) = text.parse::<ImageRef>() {
                assert_eq!(image.to_string().parse(), Ok(image), "{text}");
                good += 1;
            }
        }
        assert!(good > 1000, "{good}");
    }

    #[test]
    fn bad_names_are_explained() {
        for (text, word) in [
            ("debian", "store"),
            ("s/", "name"),
            ("s/..", "name"),
            ("s/De", "name"),
            ("s/a@", "tag"),
            ("http://host", "name"),
            ("s/a@b3:12", "hex"),
            ("ftp://h/a", "http"),
            ("http:///a", "host"),
            ("http://h/p?x/a", "query"),
        ] {
            let error = text.parse::<ImageRef>().expect_err(text).to_string();
            assert!(error.contains(word) && error.contains("STORE_OR_URL"), "{error}");
        }
    }
}
