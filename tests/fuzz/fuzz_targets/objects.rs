//! Everything a store may hold: envelopes, manifests, pages, sections, tag records, names.
#![no_main]

use block_proto::section::{BootProfile, BuildInfo, Bundle, BundleList};
use block_proto::{ImageRef, Manifest, Page, TagRecord, envelope, key};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(object) = envelope::decode(&bytes, 1 << 20) {
        assert!(object.len() <= 1 << 20);
    }
    if let Ok(manifest) = Manifest::parse(data) {
        assert_eq!(Manifest::parse(&manifest.emit()), Ok(manifest));
    }
    let _ = Page::parse(bytes.clone()).map(|page| page.chunks().count());
    let _ = (BootProfile::parse(data), BundleList::parse(data), Bundle::parse(&bytes), BuildInfo::parse(data));
    let _ = TagRecord::parse(data, "demo", "latest");
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = key::parse(text);
        if let Ok(image) = text.parse::<ImageRef>() {
            assert_eq!(image.to_string().parse(), Ok(image));
        }
    }
});
