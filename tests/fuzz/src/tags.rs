//! Tag records and keys that anybody may have written.

use block_proto::TagRecord;
use block_proto::sign::{PublicKey, SecretKey};

/// What was not signed is never believed.
pub(crate) fn signed_tags(data: &[u8]) {
    let key = SecretKey::from_random([7; 32]);
    if let Ok(mut record) = TagRecord::parse(data, "demo", "latest") {
        assert!(key.public().verify(&record).is_err(), "nobody has this key");
        key.sign_too(&mut record);
        assert_eq!(key.public().verify(&record), Ok(()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(public) = text.parse::<PublicKey>() {
            assert_eq!(public.to_string().parse(), Ok(public));
        }
        let _ = text.parse::<SecretKey>();
    }
}
