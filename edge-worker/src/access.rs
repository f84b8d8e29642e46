//! Who may read what: the path names a part of the store, a token may open private ones.

use block_proto::ReadError;
use block_proto::key::Prefix;
use block_proto::token::{self, Token, TokenKey};

/// Finds the parts of the store that a reader of `path` may look into, in order. Whether a part exists is not told: without
/// a token every private part answers alike, with one every part that it does not name is as if empty.
///
/// `now` is in seconds since 1970, `origin` the page's.
pub fn prefixes(
    keys: &[TokenKey],
    path: &Prefix,
    token: Option<&[u8]>,
    now: u64,
    origin: Option<&str>,
) -> Result<(Vec<Prefix>, Option<Token>), ReadError> {
    let Some(text) = token else {
        return if path.is_public() { Ok((vec![Prefix::public()], None)) } else { Err(ReadError::Unauthorized) };
    };
    let token = token::check(keys, text, now, origin).map_err(|_| ReadError::Unauthorized)?;
    let permitted = if path.is_public() {
        token.claims.prefixes.clone()
    } else {
        token.claims.prefixes.iter().filter(|prefix| *prefix == path).cloned().collect()
    };
    if permitted.is_empty() { Err(ReadError::NotFound) } else { Ok((permitted, Some(token))) }
}

#[cfg(test)]
mod tests {
    use block_proto::token::Claims;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tenant(name: &str) -> Prefix {
        Prefix::tenant(name).expect("a name")
    }

    fn key() -> TokenKey {
        TokenKey::new("a secret that is long enough to be one").expect("is long enough")
    }

    fn token(prefixes: Vec<Prefix>) -> String {
        let claims = Claims { expires: NOW + 60, prefixes, manifest: None, origin: None };
        key().issue(&claims).expect("fits")
    }

    fn may_read(path: &Prefix, token: Option<&str>) -> Result<Vec<Prefix>, ReadError> {
        prefixes(&[key()], path, token.map(str::as_bytes), NOW, None).map(|(prefixes, _)| prefixes)
    }

    #[test]
    fn without_a_token_only_the_public_part_is_there() {
        assert_eq!(may_read(&Prefix::public(), None), Ok(vec![Prefix::public()]));
        assert_eq!(may_read(&tenant("acme"), None), Err(ReadError::Unauthorized));
        assert_eq!(may_read(&tenant("nobody"), None), Err(ReadError::Unauthorized));
    }

    #[test]
    fn a_token_opens_what_it_names_and_the_rest_is_absent() {
        let text = token(vec![tenant("acme"), Prefix::public()]);
        assert_eq!(may_read(&tenant("acme"), Some(&text)), Ok(vec![tenant("acme")]));
        assert_eq!(may_read(&tenant("other"), Some(&text)), Err(ReadError::NotFound));
        assert_eq!(may_read(&Prefix::public(), Some(&text)), Ok(vec![tenant("acme"), Prefix::public()]));
        assert_eq!(may_read(&Prefix::public(), Some("forged")), Err(ReadError::Unauthorized));
    }
}
