//! Keys of a store: the paths of its files, the keys of an object store and the paths of its URLs are the same.

use std::fmt;
use std::str::FromStr;

use crate::{Hash, valid_name, valid_tag};

/// The key of a public object: `o/<first two digits>/<hash>`.
pub fn object(hash: &Hash) -> String {
    let hex = hash.to_string();
    format!("o/{}/{hex}", &hex[..2])
}

/// The key of a public tag record: `t/<name>/<tag>.json`.
pub fn tag(name: &str, tag: &str) -> String {
    format!("t/{name}/{tag}.json")
}

/// The part of a store that an image lives in: the public one at its root, or a tenant's private one below
/// `p/<tenant>/`. Nothing is shared between prefixes: a hash that is known in one says nothing about another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    tenant: Box<str>,
}

impl Prefix {
    /// The public part.
    pub fn public() -> Self {
        Self::default()
    }

    /// A tenant's part. Tenants are named as images are; `None` for anything else.
    pub fn tenant(tenant: &str) -> Option<Self> {
        valid_name(tenant).then(|| Self { tenant: tenant.into() })
    }

    /// The tenant's name; `None` for the public part.
    pub fn tenant_name(&self) -> Option<&str> {
        (!self.is_public()).then_some(&*self.tenant)
    }

    /// Whether anybody may read here.
    pub fn is_public(&self) -> bool {
        self.tenant.is_empty()
    }

    /// The key of an object here.
    pub fn object(&self, hash: &Hash) -> String {
        self.key(&object(hash))
    }

    /// The key of a tag record here.
    pub fn tag(&self, name: &str, tag_name: &str) -> String {
        self.key(&tag(name, tag_name))
    }

    /// The key of the boots that were recorded of an image here: a boot profile (see [`crate::section::BootProfile`]),
    /// written by servers, read by tools and clients. Only a hint; it changes, and may be lost.
    pub fn boots(&self, manifest: &Hash) -> String {
        self.key(&format!("b/{manifest}"))
    }

    /// A key below this prefix.
    pub fn key(&self, key: &str) -> String {
        if self.is_public() { key.to_owned() } else { format!("p/{}/{key}", self.tenant) }
    }
}

impl fmt::Display for Prefix {
    /// Writes what comes before its keys: nothing, or `p/<tenant>/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key(""))
    }
}

/// The text names no tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no tenant's name: lower-case letters, digits, `.`, `_` and `-`, first a letter or digit")]
pub struct PrefixError(String);

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads a tenant's name; the empty text is the public part.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        if text.is_empty() {
            return Ok(Self::public());
        }
        Self::tenant(text).ok_or_else(|| PrefixError(text.to_owned()))
    }
}

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An object.
    Object(Hash),
    /// The record of a tag.
    Tag {
        /// The image's name.
        name: String,
        /// The tag.
        tag: String,
    },
    /// The boots recorded of an image.
    Boots(Hash),
}

/// Parses a public key; only the exact spelling of [`object`], [`tag`] or [`Prefix::boots`] is one.
pub fn parse(key: &str) -> Option<Key> {
    let mut parts = key.split('/');
    let parsed = match (parts.next()?, parts.next()?, parts.next()) {
        ("o", prefix, Some(hex)) => Key::Object(hex.parse().ok().filter(|_| hex.get(..2) == Some(prefix))?),
        ("t", name, Some(file)) => {
            let tag = file.strip_suffix(".json")?;
            (valid_name(name) && valid_tag(tag)).then(|| Key::Tag { name: name.to_owned(), tag: tag.to_owned() })?
        }
        ("b", hex, None) => Key::Boots(hex.parse().ok()?),
        _ => return None,
    };
    parts.next().is_none().then_some(parsed)
}

/// Parses a key of any prefix.
pub fn parse_any(key: &str) -> Option<(Prefix, Key)> {
    match key.strip_prefix("p/") {
        None => Some((Prefix::public(), parse(key)?)),
        Some(rest) => {
            let (tenant, key) = rest.split_once('/')?;
            Some((Prefix::tenant(tenant)?, parse(key)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_parse_back_and_tricks_do_not() {
        let hash = Hash::of(b"x");
        assert_eq!(parse(&object(&hash)), Some(Key::Object(hash)));
        assert_eq!(parse("t/debian/v1.2.json"), Some(Key::Tag { name: "debian".into(), tag: "v1.2".into() }));
        let hex = hash.to_string();
        let wrong_prefix = format!("o/zz/{hex}");
        for bad in ["", "o", "t/../x.json", "t/a/../../x.json", "o/../etc/passwd", "t/a/.json", "t/a/b", &wrong_prefix]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&format!("{}/", object(&hash))), None);
    }

    #[test]
    fn tenants_have_keys_of_their_own() {
        let hash = Hash::of(b"x");
        let acme = Prefix::tenant("acme").expect("a good name");
        assert_eq!(acme.object(&hash), format!("p/acme/{}", object(&hash)));
        assert_eq!(acme.to_string(), "p/acme/");
        assert_eq!(Prefix::public().object(&hash), object(&hash));
        for prefix in [acme, Prefix::public()] {
            assert_eq!(parse_any(&prefix.object(&hash)), Some((prefix.clone(), Key::Object(hash))));
            assert_eq!(parse_any(&prefix.boots(&hash)), Some((prefix.clone(), Key::Boots(hash))));
            assert!(matches!(parse_any(&prefix.tag("a", "b")), Some((found, Key::Tag { .. })) if found == prefix));
        }
        let hex = object(&hash);
        for bad in [format!("p/../{hex}"), format!("p//{hex}"), format!("p/a/p/b/{hex}"), format!("p/{hex}")] {
            assert_eq!(parse_any(&bad), None, "{bad}");
        }
        assert!("a/b".parse::<Prefix>().is_err() && "..".parse::<Prefix>().is_err());
        assert_eq!("".parse(), Ok(Prefix::public()));
    }
}
