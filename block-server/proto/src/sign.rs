//! Signed tags: who publishes an image signs which manifest a tag points at, and a client that was told the publisher's key
//! takes nothing else. From the manifest on, every byte is checked by hash, so this closes the chain of trust.
//!
//! Ed25519 (RFC 8032). What is signed is text, so that it can be made and checked with other tools (`openssl pkeyutl`):
//! `skiff tag 1`, name, tag, manifest, size and date, each on a line of its own. Transports and endpoints are not: they say
//! where to ask, and what comes from there is checked. A signature does not say that a record is the newest one.

use std::fmt;
use std::str::FromStr;

use ed25519_compact::{KeyPair, Seed, Signature};

use crate::TagRecord;

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";

/// Why a tag is not to be trusted, or a key is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The text is no public key.
    #[error("a public key is `ed25519:` and 64 hex digits")]
    PublicSyntax,
    /// The text is no secret key.
    #[error("a secret key is `ed25519-secret:` and 64 hex digits")]
    SecretSyntax,
    /// The record has no signature.
    #[error("the tag is not signed")]
    Unsigned,
    /// None of its signatures was made with the key.
    #[error("the tag is not signed with this key, or was changed")]
    Wrong,
}

/// What clients pin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_compact::PublicKey);

impl PublicKey {
    /// Checks that this key signed the record.
    pub fn verify(&self, record: &TagRecord) -> Result<(), SignError> {
        let signatures = record.sig.as_deref().ok_or(SignError::Unsigned)?;
        let text = signed_text(record);
        let good = |text_of: &str| {
            let bytes = text_of.strip_prefix(PUBLIC).and_then(bytes::<64>);
            bytes.is_some_and(|bytes| self.0.verify(&text, &Signature::new(bytes)).is_ok())
        };
        // One for each key, while keys are being changed.
        if signatures.split_ascii_whitespace().any(good) { Ok(()) } else { Err(SignError::Wrong) }
    }
}

impl FromStr for PublicKey {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        let bytes = text.strip_prefix(PUBLIC).and_then(bytes::<32>).ok_or(SignError::PublicSyntax)?;
        let key = ed25519_compact::PublicKey::new(bytes);
        // Not a point of the curve, or one of the few that sign anything.
        key.validate().map_err(|_| SignError::PublicSyntax)?;
        Ok(Self(key))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PUBLIC)?;
        hex(f, &*self.0)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// What a publisher keeps to himself.
#[derive(Clone)]
pub struct SecretKey(KeyPair);

impl SecretKey {
    /// Makes a key of 32 random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(KeyPair::from_seed(Seed::new(bytes)))
    }

    /// The key that clients are told.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.pk)
    }

    /// Signs a record in place of all signatures it has.
    pub fn sign(&self, record: &mut TagRecord) {
        record.sig = Some(self.signature(record));
    }

    /// Signs a record beside the signatures it has; those that this key made are replaced.
    pub fn sign_too(&self, record: &mut TagRecord) {
        let own = self.signature(record);
        let public = self.public();
        let others = record.sig.take().unwrap_or_default();
        let foreign = others.split_ascii_whitespace().filter(|one| {
            let alone = TagRecord { sig: Some((*one).to_owned()), ..record.clone() };
            public.verify(&alone).is_err()
        });
        record.sig = Some(foreign.chain([own.as_str()]).collect::<Vec<_>>().join(" "));
    }

    /// The key's text, to be kept in a file that nobody else can read.
    pub fn reveal(&self) -> String {
        format!("{SECRET}{}", Hex(&*self.0.sk.seed()))
    }

    fn signature(&self, record: &TagRecord) -> String {
        format!("{PUBLIC}{}", Hex(&*self.0.sk.sign(signed_text(record), None)))
    }
}

impl FromStr for SecretKey {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        let bytes = text.trim().strip_prefix(SECRET).and_then(bytes::<32>).ok_or(SignError::SecretSyntax)?;
        Ok(Self::from_random(bytes))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// The bytes that are signed.
fn signed_text(record: &TagRecord) -> Vec<u8> {
    let TagRecord { name, tag, manifest, size, created, .. } = record;
    format!("skiff tag 1\n{name}\n{tag}\n{manifest}\n{size}\n{created}\n").into_bytes()
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, self.0)
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Reads exactly `N` bytes of hex digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !odd.is_empty() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    fn record() -> TagRecord {
        TagRecord {
            name: "debian".into(),
            tag: "latest".into(),
            manifest: Hash::of(b"root"),
            size: 1 << 33,
            created: 5,
            transport: vec!["http".into()],
            endpoints: vec![],
            sig: None,
        }
    }

    #[test]
    fn keys_are_those_of_rfc_8032() {
        // Section 7.1, test 1.
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let key: SecretKey = format!("{SECRET}{secret}\n").parse().expect("a key");
        assert_eq!(key.public().to_string(), format!("ed25519:{public}"));
        assert_eq!(key.reveal(), format!("{SECRET}{secret}"));
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn any_change_of_what_is_signed_is_noticed() {
        let (ours, other) = (SecretKey::from_random([1; 32]), SecretKey::from_random([2; 32]));
        let mut signed = record();
        assert_eq!(ours.public().verify(&signed), Err(SignError::Unsigned));
        ours.sign(&mut signed);
        assert_eq!(ours.public().verify(&signed), Ok(()));
        assert_eq!(other.public().verify(&signed), Err(SignError::Wrong));
        let changes: [fn(&mut TagRecord); 6] = [
            |record| record.name = "debian2".into(),
            |record| record.tag = "stable".into(),
            |record| record.manifest = Hash::of(b"another"),
            |record| record.size += 1,
            |record| record.created += 1,
            |record| record.sig = record.sig.take().map(|sig| sig.replace('a', "b")),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = signed.clone();
            change(&mut changed);
            assert_eq!(ours.public().verify(&changed), Err(SignError::Wrong), "change {number}");
        }
        let elsewhere = TagRecord { endpoints: vec!["https://mirror.example.org".into()], ..signed };
        assert_eq!(ours.public().verify(&elsewhere), Ok(()));
    }

    #[test]
    fn two_keys_can_sign_while_they_are_changed() {
        let (old, new) = (SecretKey::from_random([1; 32]), SecretKey::from_random([2; 32]));
        let mut signed = record();
        old.sign_too(&mut signed);
        new.sign_too(&mut signed);
        new.sign_too(&mut signed);
        assert_eq!(signed.sig.as_deref().map(|sig| sig.split(' ').count()), Some(2));
        assert_eq!((old.public().verify(&signed), new.public().verify(&signed)), (Ok(()), Ok(())));
        let parsed = TagRecord::parse(&signed.emit(), "debian", "latest");
        assert_eq!(parsed, Ok(signed));
    }

    #[test]
    fn only_keys_parse() {
        for bad in ["", "ed25519:", "ed25519:00", &format!("ed25519:{}", "g".repeat(64)), &"0".repeat(64)] {
            assert_eq!(bad.parse::<PublicKey>(), Err(SignError::PublicSyntax), "{bad}");
            assert!(bad.parse::<SecretKey>().is_err(), "{bad}");
        }
        // A point that is not on the curve.
        assert!(format!("ed25519:02{}", "0".repeat(62)).parse::<PublicKey>().is_err());
    }
}
