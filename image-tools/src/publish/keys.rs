//! Making keys, and signing tags that are in a store already.

use anyhow::{Context, Result, bail};
use block_proto::sign::SecretKey;
use block_proto::{TagRecord, Version};

use super::origin::TAG_LIMIT;
use super::{Origin, OriginRef};

/// Makes a key.
pub fn generate() -> Result<SecretKey> {
    Ok(SecretKey::from_random(super::random()?))
}

/// Signs the record of a tag; `beside` keeps signatures of other keys. Fails if somebody moves the tag meanwhile.
pub async fn sign(image: &OriginRef, origin: &Origin, key: &SecretKey, beside: bool) -> Result<()> {
    let (Version::Tag(tag), Origin::Store { store, area }) = (&image.version, origin) else {
        bail!("{image}: only the tags of a directory or bucket can be signed");
    };
    let path = area.tag(&image.name, tag);
    let read = store.get_versioned(&path, TAG_LIMIT).await;
    let (json, version) = read.with_context(|| format!("{image} cannot be read"))?;
    let mut record = TagRecord::parse(&json, &image.name, tag)?;
    if beside {
        key.sign_too(&mut record);
    } else {
        key.sign(&mut record);
    }
    Ok(store.replace(&path, record.emit().into(), Some(&version)).await?)
}
