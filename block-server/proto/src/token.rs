//! Permission to read private images: a list of prefixes and an end, sealed with a key that issuer and servers share.
//!
//! The seal is keyed BLAKE3, so a token is made and checked with what is linked anyway, in microseconds. The wire form is
//! text (base64url without padding) and the same everywhere: in HELLO, in `?t=` and in `Authorization: Bearer`. Byte layout
//! in this crate's README. A token is a secret: [`Token`] prints only its [`TokenId`].

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Hash;
use crate::key::Prefix;
use crate::wire::Reader;

/// The longest token's text; HELLO has to fit into one short message.
pub const MAX_TOKEN: usize = 1024;
/// Clocks may differ by this much.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// The shortest secret taken.
pub const MIN_SECRET: usize = 32;
/// The most prefixes a token may name.
pub const MAX_PREFIXES: usize = 8;

const VERSION: u8 = 1;
const SEAL: usize = 32;
/// Names what the derived key is for, so that a secret used elsewhere too makes no tokens.
const CONTEXT: &str = "skiff vmdisk.v1 access token";

/// What a token permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Seconds since 1970 after which it is no good.
    pub expires: u64,
    /// What may be read, in the order in which to look.
    pub prefixes: Vec<Prefix>,
    /// The only image that may be opened; any if absent.
    pub manifest: Option<Hash>,
    /// The only page that may use it, as in the `Origin` header; any if absent.
    pub origin: Option<String>,
}

impl Claims {
    /// Whether this prefix may be read.
    pub fn permits(&self, prefix: &Prefix) -> bool {
        self.prefixes.contains(prefix)
    }

    /// Whether a page of this origin may use it.
    pub fn permits_origin(&self, origin: Option<&str>) -> bool {
        self.origin.is_none() || self.origin.as_deref() == origin
    }
}

/// Tells tokens apart in logs and limits without giving them away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// A token that was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// What it permits.
    pub claims: Claims,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a token is no good. Says nothing of the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token, or not sealed with any of the keys.
    #[error("the token is not valid here")]
    Forged,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is meant for another page.
    #[error("the token is not for this page")]
    Origin,
}

/// A secret is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token secret of {0} bytes; at least {MIN_SECRET} are needed")]
pub struct SecretError(usize);

/// One secret, as a key.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    /// Derives the key from a secret, which may be any text long enough not to be guessed.
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        let secret = secret.trim();
        if secret.len() < MIN_SECRET {
            return Err(SecretError(secret.len()));
        }
        Ok(Self(blake3::derive_key(CONTEXT, secret.as_bytes())))
    }

    /// Makes a token. `None` if the claims are too long for one, or name no prefix.
    pub fn issue(&self, claims: &Claims) -> Option<String> {
        let mut out = vec![VERSION, 0];
        out.extend_from_slice(&claims.expires.to_le_bytes());
        if claims.prefixes.is_empty() || claims.prefixes.len() > MAX_PREFIXES {
            return None;
        }
        out.push(u8::try_from(claims.prefixes.len()).ok()?);
        for prefix in &claims.prefixes {
            push_text(&mut out, prefix.tenant_name().unwrap_or(""))?;
        }
        out.push(u8::from(claims.manifest.is_some()));
        out.extend_from_slice(claims.manifest.as_ref().map_or(&[][..], |hash| hash.as_bytes()));
        push_text(&mut out, claims.origin.as_deref().unwrap_or(""))?;
        let seal = blake3::keyed_hash(&self.0, &out);
        out.extend_from_slice(seal.as_bytes());
        let text = URL_SAFE_NO_PAD.encode(out);
        (text.len() <= MAX_TOKEN).then_some(text)
    }

    fn sealed(&self, body: &[u8], seal: &[u8; SEAL]) -> bool {
        // Compares in constant time.
        blake3::keyed_hash(&self.0, body) == *seal
    }
}

/// Checks a token against the keys in use (several while one is being replaced). `now` is in seconds since 1970.
pub fn check(keys: &[TokenKey], text: &[u8], now: u64, origin: Option<&str>) -> Result<Token, TokenError> {
    if text.len() > MAX_TOKEN {
        return Err(TokenError::Forged);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Forged)?;
    let (body, seal) = bytes.split_last_chunk::<SEAL>().ok_or(TokenError::Forged)?;
    if !keys.iter().any(|key| key.sealed(body, seal)) {
        return Err(TokenError::Forged);
    }
    // Sealed by us, so only a later version can be unreadable.
    let claims = parse(body).ok_or(TokenError::Forged)?;
    if now > claims.expires.saturating_add(CLOCK_SKEW.as_secs()) {
        return Err(TokenError::Expired);
    }
    if !claims.permits_origin(origin) {
        return Err(TokenError::Origin);
    }
    let digest = blake3::hash(&bytes);
    let id = digest.as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    Ok(Token { id: TokenId(id), claims })
}

fn push_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.push(u8::try_from(text.len()).ok()?);
    out.extend_from_slice(text.as_bytes());
    Some(())
}

fn parse(body: &[u8]) -> Option<Claims> {
    fn text<'a>(reader: &mut Reader<'a>) -> Option<&'a str> {
        let len = usize::from(reader.u8()?);
        std::str::from_utf8(reader.take(len)?).ok()
    }
    let mut reader = Reader::new(body);
    if reader.u8()? != VERSION || reader.u8()? != 0 {
        return None;
    }
    let expires = reader.u64()?;
    let count = reader.u8()?;
    let prefixes: Vec<Prefix> = (0..count).map(|_| text(&mut reader)?.parse().ok()).collect::<Option<_>>()?;
    let manifest = match reader.u8()? {
        0 => None,
        1 => Some(Hash::from_bytes(reader.array()?)),
        _ => return None,
    };
    let origin = Some(text(&mut reader)?).filter(|origin| !origin.is_empty()).map(str::to_owned);
    let sound = reader.remaining() == 0 && !prefixes.is_empty() && prefixes.len() <= MAX_PREFIXES;
    sound.then_some(Claims { expires, prefixes, manifest, origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(fill: char) -> TokenKey {
        TokenKey::new(&fill.to_string().repeat(40)).expect("is long enough")
    }

    fn claims() -> Claims {
        Claims {
            expires: NOW + 10,
            prefixes: vec![Prefix::tenant("acme").expect("a name"), Prefix::public()],
            manifest: Some(Hash::of(b"root")),
            origin: Some("https://vm.example".into()),
        }
    }

    fn checked(text: &[u8], now: u64) -> Result<Token, TokenError> {
        check(&[key('b'), key('a')], text, now, Some("https://vm.example"))
    }

    #[test]
    fn tokens_are_good_for_their_time_their_page_and_their_prefixes() {
        let text = key('a').issue(&claims()).expect("fits");
        let token = checked(text.as_bytes(), NOW).expect("is good");
        assert_eq!(token.claims, claims());
        assert!(token.claims.permits(&Prefix::public()));
        assert!(!token.claims.permits(&Prefix::tenant("other").expect("a name")));
        assert!(checked(text.as_bytes(), NOW + 70).is_ok());
        assert_eq!(checked(text.as_bytes(), NOW + 71), Err(TokenError::Expired));
        assert_eq!(check(&[key('a')], text.as_bytes(), NOW, None), Err(TokenError::Origin));
        assert_eq!(check(&[key('c')], text.as_bytes(), NOW, None), Err(TokenError::Forged));
        assert_eq!(check(&[], text.as_bytes(), NOW, None), Err(TokenError::Forged));
        assert!(!format!("{token:?} {}", token.id).contains(&text));
    }

    #[test]
    fn a_changed_token_is_forged() {
        let text = key('a').issue(&claims()).expect("fits").into_bytes();
        for at in 0..text.len() {
            for byte in [b'A', b'_', b'=', b'.', 0xff] {
                let mut changed = text.clone();
                changed[at] = byte;
                if changed != text {
                    assert_eq!(checked(&changed, NOW), Err(TokenError::Forged), "at {at}");
                }
            }
            assert_eq!(checked(&text[..at], NOW), Err(TokenError::Forged));
        }
        assert_eq!(checked(&[b'A'; 2000], NOW), Err(TokenError::Forged));
    }

    #[test]
    fn secrets_and_claims_have_sizes() {
        assert!(TokenKey::new("short").is_err());
        assert_eq!(key('a').issue(&Claims { prefixes: vec![], ..claims() }), None);
        assert_eq!(key('a').issue(&Claims { origin: Some("x".repeat(300)), ..claims() }), None);
    }
}
