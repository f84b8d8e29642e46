//! Writing down where a store is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a directory.
    Directory(PathBuf),
    /// In a bucket, below a prefix that may be empty and has no slash at its ends.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// What comes before the store's keys.
        prefix: String,
    },
}

/// The text says nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no place for a store: {reason} (expected a directory or s3://BUCKET[/PREFIX])")]
pub struct LocationError {
    text: String,
    reason: &'static str,
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let fail = |reason| LocationError { text: text.to_owned(), reason };
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() { Err(fail("it is empty")) } else { Ok(Self::Directory(text.into())) };
        };
        match scheme {
            "s3" => {}
            "file" => return Ok(Self::Directory(rest.into())),
            "http" | "https" => {
                return Err(fail("a store is not reached by URL; set AWS_ENDPOINT_URL and name the bucket"));
            }
            _ => return Err(fail("unknown scheme")),
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(fail("the bucket's name is made of letters, digits, `.`, `-` and `_`"));
        }
        let prefix = prefix.trim_matches('/');
        let sound = |part: &str| !matches!(part, "" | "." | "..");
        if !prefix.is_empty() && !prefix.split('/').all(sound) {
            return Err(fail("the prefix has an empty part or dots in it"));
        }
        // What was meant is an image of the store; its files would go where nobody looks for them.
        if prefix.contains('@') {
            return Err(fail("it names a tag, and a store has many; leave out NAME@TAG (`push` has --name and --tag)"));
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_buckets_parse_and_print() {
        let bucket = |bucket: &str, prefix: &str| Location::Bucket { bucket: bucket.into(), prefix: prefix.into() };
        for (text, location, printed) in [
            ("store", Location::Directory("store".into()), "store"),
            ("/srv/a b", Location::Directory("/srv/a b".into()), "/srv/a b"),
            ("file:///srv/x", Location::Directory("/srv/x".into()), "/srv/x"),
            ("s3://disks", bucket("disks", ""), "s3://disks"),
            ("s3://disks/", bucket("disks", ""), "s3://disks"),
            ("s3://disks/a/b/", bucket("disks", "a/b"), "s3://disks/a/b"),
        ] {
            let parsed: Location = text.parse().expect(text);
            assert_eq!(parsed, location);
            assert_eq!(parsed.to_string(), printed);
        }
    }

    #[test]
    fn other_places_are_explained() {
        for (text, word) in [
            ("", "empty"),
            ("s3://", "bucket"),
            ("s3:///x", "bucket"),
            ("s3://a/../b", "dots"),
            ("s3://a//b//c", "empty part"),
            ("s3://a/demo@v2", "--tag"),
            ("gs://a", "scheme"),
            ("https://x.example/b", "AWS_ENDPOINT_URL"),
        ] {
            let error = text.parse::<Location>().expect_err(text).to_string();
            assert!(error.contains(word) && error.contains("s3://BUCKET"), "{error}");
        }
    }
}
