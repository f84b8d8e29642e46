//! What a store may hold.

use block_proto::envelope::{self, Codec, Envelope};
use block_proto::section::{BootProfile, BuildInfo, Bundle, BundleList};
use block_proto::{Hash, ImageRef, MAX_OBJECT, Manifest, Page, TagRecord, key};
use bytes::Bytes;

/// Envelopes: never more than was allowed, and where C's zstd takes one that our decoder takes, both decode alike.
/// `zrip-decode` takes more: it does not look at what follows in a block that declares no sequences, or has no such section
/// (RFC 8878, 3.1.1.3.2.1), which C refuses. Who opens an object compares its hash.
pub(crate) fn envelopes(data: &[u8]) {
    let stored = Bytes::copy_from_slice(data);
    let Ok(object) = envelope::decode(&stored, MAX_OBJECT) else { return };
    assert!(object.len() <= MAX_OBJECT);
    assert!(envelope::decode(&stored, object.len()).is_ok());
    if let Some(less) = object.len().checked_sub(1) {
        assert!(envelope::decode(&stored, less).is_err(), "more than was allowed");
    }
    assert!(envelope::open(&stored, &Hash::of(&object), MAX_OBJECT).is_ok());
    assert!(envelope::open(&stored, &Hash::of(b"another object"), MAX_OBJECT).is_err());
    if let Ok(Envelope { codec: Codec::Zstd, payload, .. }) = envelope::parse(&stored)
        && let Ok(theirs) = zstd::bulk::decompress(payload, MAX_OBJECT)
    {
        assert_eq!(theirs, object);
    }
}

/// Manifests, pages, sections, tag records and names: what parses survives a round trip.
pub(crate) fn manifests(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(manifest) = Manifest::parse(data) {
        assert_eq!(Manifest::parse(&manifest.emit()), Ok(manifest));
    }
    let _ = Page::parse(bytes.clone()).map(|page| page.chunks().count());
    if let Some(profile) = BootProfile::parse(data) {
        assert_eq!(BootProfile::parse(&profile.emit()), Some(profile));
    }
    let _ = (BundleList::parse(data), Bundle::parse(&bytes), BuildInfo::parse(data));
    let _ = TagRecord::parse(data, "demo", "latest");
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = key::parse(text);
        if let Ok(image) = text.parse::<ImageRef>() {
            assert_eq!(image.to_string().parse(), Ok(image));
        }
    }
}
