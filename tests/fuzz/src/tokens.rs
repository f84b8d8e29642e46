//! Access tokens: what was not sealed is never believed, and what was reads back as it was written.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use block_proto::route;
use block_proto::token::{self, TokenError, TokenKey};

const SECRET: &str = "a secret of the fuzzer's, long enough to be one";
/// As `block-server/proto/README.md` has it, not as the code does.
const CONTEXT: &str = "skiff vmdisk.v1 access token";
const NOW: u64 = 1_800_000_000;

/// The first byte chooses between a stranger's text, sealed bytes of any kind, and headers.
pub(crate) fn tokens(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let keys = [TokenKey::new(SECRET).expect("is long enough")];
    match kind % 3 {
        0 => assert_eq!(token::check(&keys, data, NOW, None), Err(TokenError::Forged), "nobody has this secret"),
        1 => {
            let key = blake3::derive_key(CONTEXT, SECRET.as_bytes());
            let mut sealed = data.to_vec();
            sealed.extend_from_slice(blake3::keyed_hash(&key, data).as_bytes());
            let text = URL_SAFE_NO_PAD.encode(sealed);
            if let Ok(token) = token::check(&keys, text.as_bytes(), NOW, None) {
                assert!(token.claims.expires >= NOW - 60 && token.claims.origin.is_none());
                assert_eq!(keys[0].issue(&token.claims).as_deref(), Some(&*text), "there is one way to write it");
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            let (header, query) = text.split_once('\n').unwrap_or((text, ""));
            let _ = route::token(Some(header), Some(query));
            let _ = route::route(text);
            let _ = route::wants_fresh(text);
        }
    }
}
