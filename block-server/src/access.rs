//! Who may read what: pages by their origin, private images by tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use block_proto::Hash;
use block_proto::key::Prefix;
use block_proto::token::{self, Token, TokenError, TokenId, TokenKey};

/// The rules of a server.
pub(crate) struct Access {
    origins: Vec<String>,
    keys: Vec<TokenKey>,
}

/// Why somebody may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no token where one is needed, or a bad one.
    Token,
    /// A good token that does not name what was asked for: said in the same words as of what is not there.
    Absent,
}

/// What a request or session may read.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// In the order in which to look; never empty.
    pub(crate) prefixes: Vec<Prefix>,
    /// The token's name, for limits and logs.
    pub(crate) token: Option<TokenId>,
    /// Seconds since 1970 after which it is over.
    pub(crate) expires: Option<u64>,
}

impl Access {
    pub(crate) fn new(origins: Vec<String>, keys: Vec<TokenKey>) -> Self {
        Self { origins, keys }
    }

    /// Whether pages of this origin may use the server at all.
    pub(crate) fn origin_allowed(&self, origin: &str) -> bool {
        self.origins.is_empty() || self.origins.iter().any(|allowed| allowed == origin)
    }

    /// What may be read of `place`, the prefix in a URL. A token that was given must be good, even where none is needed.
    pub(crate) fn grant(
        &self,
        place: &Prefix,
        token: Option<&[u8]>,
        origin: Option<&str>,
    ) -> Result<(Grant, Option<Token>), Refusal> {
        let Some(text) = token.filter(|text| !text.is_empty()) else {
            return if place.is_public() {
                Ok((Grant { prefixes: vec![Prefix::public()], token: None, expires: None }, None))
            } else {
                Err(Refusal::Token)
            };
        };
        let token = self.check(text, origin).map_err(|_| Refusal::Token)?;
        let prefixes = if place.is_public() {
            token.claims.prefixes.clone()
        } else if token.claims.permits(place) {
            vec![place.clone()]
        } else {
            return Err(Refusal::Absent);
        };
        let grant = Grant { prefixes, token: Some(token.id), expires: Some(token.claims.expires) };
        Ok((grant, Some(token)))
    }

    /// The same for a session that opens an image.
    pub(crate) fn grant_image(
        &self,
        place: &Prefix,
        token: &[u8],
        origin: Option<&str>,
        manifest: &Hash,
    ) -> Result<Grant, Refusal> {
        let (grant, token) = self.grant(place, Some(token), origin)?;
        let only = token.and_then(|token| token.claims.manifest);
        if only.is_some_and(|only| only != *manifest) { Err(Refusal::Absent) } else { Ok(grant) }
    }

    fn check(&self, text: &[u8], origin: Option<&str>) -> Result<Token, TokenError> {
        token::check(&self.keys, text, now(), origin)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use block_proto::token::Claims;

    use super::*;

    fn key() -> TokenKey {
        TokenKey::new("a secret of more than 32 characters").expect("is long enough")
    }

    fn tenant(name: &str) -> Prefix {
        Prefix::tenant(name).expect("a name")
    }

    fn issue(claims: &Claims) -> Vec<u8> {
        key().issue(claims).expect("fits").into_bytes()
    }

    #[test]
    fn tokens_open_the_prefixes_they_name_and_no_others() {
        let access = Access::new(vec![], vec![key()]);
        let claims = Claims {
            expires: now() + 60,
            prefixes: vec![tenant("acme"), Prefix::public()],
            manifest: None,
            origin: None,
        };
        let token = issue(&claims);
        let prefixes =
            |place: &Prefix, token: Option<&[u8]>| access.grant(place, token, None).map(|(grant, _)| grant.prefixes);
        assert_eq!(prefixes(&Prefix::public(), None), Ok(vec![Prefix::public()]));
        assert_eq!(prefixes(&Prefix::public(), Some(&token)), Ok(claims.prefixes.clone()));
        assert_eq!(prefixes(&tenant("acme"), Some(&token)), Ok(vec![tenant("acme")]));
        assert_eq!(prefixes(&tenant("other"), Some(&token)), Err(Refusal::Absent));
        assert_eq!(prefixes(&tenant("acme"), None), Err(Refusal::Token));
        assert_eq!(prefixes(&tenant("acme"), Some(b"junk")), Err(Refusal::Token));
        assert_eq!(prefixes(&Prefix::public(), Some(b"junk")), Err(Refusal::Token));
        let expired = issue(&Claims { expires: now() - 100, ..claims });
        assert_eq!(prefixes(&tenant("acme"), Some(&expired)), Err(Refusal::Token));
    }

    #[test]
    fn a_token_for_one_image_opens_no_other() {
        let access = Access::new(vec![], vec![key()]);
        let (mine, other) = (Hash::of(b"mine"), Hash::of(b"other"));
        let claims = Claims { expires: now() + 60, prefixes: vec![tenant("acme")], manifest: Some(mine), origin: None };
        let token = issue(&claims);
        assert!(access.grant_image(&tenant("acme"), &token, None, &mine).is_ok());
        assert!(matches!(access.grant_image(&tenant("acme"), &token, None, &other), Err(Refusal::Absent)));
    }
}
