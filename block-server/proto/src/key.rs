//! Keys of a store: the paths of its files, the keys of an object store and the paths of its URLs are the same.

use crate::{Hash, valid_name, valid_tag};

/// The key of an object: `o/<first two digits>/<hash>`.
pub fn object(hash: &Hash) -> String {
    let hex = hash.to_string();
    format!("o/{}/{hex}", &hex[..2])
}

/// The key of a tag record: `t/<name>/<tag>.json`.
pub fn tag(name: &str, tag: &str) -> String {
    format!("t/{name}/{tag}.json")
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
}

/// Parses a key; only the exact spelling of [`object`] or [`tag`] is one.
pub fn parse(key: &str) -> Option<Key> {
    let mut parts = key.split('/');
    let parsed = match (parts.next()?, parts.next()?, parts.next()?) {
        ("o", prefix, hex) => Key::Object(hex.parse().ok().filter(|_| hex.get(..2) == Some(prefix))?),
        ("t", name, file) => {
            let tag = file.strip_suffix(".json")?;
            (valid_name(name) && valid_tag(tag)).then(|| Key::Tag { name: name.to_owned(), tag: tag.to_owned() })?
        }
        _ => return None,
    };
    parts.next().is_none().then_some(parsed)
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
}
