//! Written pages in IndexedDB.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use js_sys::{Array, Float64Array, Uint8Array};
use vm_block::{Batch, BlockError, Durability, OverlayStore, PageKey};
use vm_rt::Mutex;
use wasm_bindgen::prelude::*;

use crate::host::PageStore;
use crate::later::{name, settled, words};
use crate::presence::{Presence, ROW_BYTES, Row, is_blank};

/// An overlay store in IndexedDB: one record a page, and the rows of [`Presence`] changed in the same transaction.
pub struct IndexedDbStore {
    store: PageStore,
    epoch: u64,
    presence: RefCell<Presence>,
    /// Rows are computed from those of the commit before, so commits go one after the other.
    committing: Mutex<()>,
}

impl IndexedDbStore {
    /// Wraps a store that JavaScript has opened.
    pub fn new(store: PageStore) -> Result<Self, BlockError> {
        let epoch = number(store.epoch()).ok_or_else(|| BlockError::Store("the overlay has no epoch".into()))?;
        let (keys, bytes) = (store.row_keys().to_vec(), store.rows().to_vec());
        if bytes.len() != keys.len() * ROW_BYTES {
            return Err(BlockError::Store("the overlay's index is damaged".into()));
        }
        let rows = keys.iter().zip(bytes.chunks_exact(ROW_BYTES));
        let rows = rows.filter_map(|(key, row)| Some((number(*key)?, Row::try_from(row).ok()?)));
        let presence = RefCell::new(Presence::from_rows(rows));
        Ok(Self { store, epoch, presence, committing: Mutex::new(()) })
    }

    /// The stored pages in a range, in order.
    pub fn keys_in(&self, range: Range<u64>) -> Vec<PageKey> {
        self.presence.borrow().keys_in(range)
    }

    /// The number of pages stored.
    pub fn pages(&self) -> u64 {
        self.presence.borrow().len()
    }
}

impl OverlayStore for IndexedDbStore {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn keys(&self) -> Result<Vec<PageKey>, BlockError> {
        Ok(self.presence.borrow().keys())
    }

    async fn load(&self, keys: &[PageKey]) -> Result<Vec<Option<Bytes>>, BlockError> {
        let pages = settled(self.store.load(&js_keys(keys.iter().copied()))).await.map_err(|error| failure(&error))?;
        let pages = Array::from(&pages);
        let page = |page: JsValue| page.dyn_into::<Uint8Array>().ok().map(|page| Bytes::from(page.to_vec()));
        let pages: Vec<Option<Bytes>> = pages.iter().map(page).collect();
        if pages.len() != keys.len() {
            return Err(BlockError::Store("the overlay answered with the wrong number of pages".into()));
        }
        Ok(pages)
    }

    async fn commit(&self, batch: Batch) -> Result<(), BlockError> {
        let _one = self.committing.lock().await;
        let rows = self.presence.borrow().rows_after(batch.put.iter().map(|(key, _)| *key), &batch.delete);
        let (blank, kept): (Vec<_>, Vec<_>) = rows.iter().partition(|(_, row)| is_blank(row));
        let change = Array::of5(
            &js_keys(batch.put.iter().map(|(key, _)| *key)),
            &batch.put.iter().map(|(_, page)| Uint8Array::from(&page[..])).collect::<Array>(),
            &js_keys(batch.delete.iter().copied()),
            &kept.iter().map(|(number, _)| js_number(*number)).collect::<Array>(),
            &kept.iter().map(|(_, row)| Uint8Array::from(&row[..])).collect::<Array>(),
        );
        change.push(&blank.iter().map(|(number, _)| js_number(*number)).collect::<Array>());
        let strict = batch.durability == Durability::Strict;
        #[expect(clippy::cast_precision_loss, reason = "a counter of openings stays far below 2^53")]
        let commit = self.store.commit(&change, batch.expect_epoch as f64, strict);
        settled(commit).await.map_err(|error| failure(&error))?;
        self.presence.borrow_mut().apply(rows);
        Ok(())
    }

    fn room(&self) -> Option<u64> {
        number(self.store.room())
    }
}

/// Reads a whole number that a `u64` holds.
fn number(value: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
    (0.0..9_007_199_254_740_992.0).contains(&value).then_some(value as u64)
}

#[expect(clippy::cast_precision_loss, reason = "page numbers are below 2^52: 64-bit offsets in pages of 4 KiB")]
fn js_number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

#[expect(clippy::cast_precision_loss, reason = "page numbers are below 2^52: 64-bit offsets in pages of 4 KiB")]
/// Numbers of pages as JavaScript has them.
pub(crate) fn js_keys(keys: impl Iterator<Item = PageKey>) -> Float64Array {
    Float64Array::from(&keys.map(|key| key.0 as f64).collect::<Vec<_>>()[..])
}

fn failure(error: &JsValue) -> BlockError {
    match name(error).as_str() {
        "Fenced" => BlockError::Fenced,
        "QuotaExceededError" => BlockError::StoreFull,
        _ => BlockError::Store(words(error)),
    }
}
