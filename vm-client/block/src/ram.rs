//! A disk in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::pages::{PAGE_SIZE, Span, check_range, spans};
use crate::{BlockDevice, BlockError};

/// A disk in memory that stores only pages that were written; the rest reads as zeros. Used by tests and by image-tools.
#[derive(Default)]
pub struct RamDevice {
    size: u64,
    pages: RefCell<BTreeMap<u64, Box<[u8]>>>,
}

impl RamDevice {
    /// Creates a disk of `size` zero bytes.
    pub fn new(size: u64) -> Self {
        Self { size, pages: RefCell::default() }
    }

    /// Creates a disk holding a copy of `image`.
    pub fn from_bytes(image: &[u8]) -> Self {
        let mut pages = BTreeMap::new();
        for (number, piece) in image.chunks(PAGE_SIZE).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                let mut page = vec![0; PAGE_SIZE].into_boxed_slice();
                page[..piece.len()].copy_from_slice(piece);
                pages.insert(number as u64, page);
            }
        }
        Self { size: image.len() as u64, pages: RefCell::new(pages) }
    }

    /// Copies the whole disk out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut image = vec![0; usize::try_from(self.size).expect("a disk to copy fits in memory")];
        for (number, page) in &*self.pages.borrow() {
            let start = *number as usize * PAGE_SIZE;
            let end = (start + PAGE_SIZE).min(image.len());
            image[start..end].copy_from_slice(&page[..end - start]);
        }
        image
    }

    /// The pages that hold data, in order.
    pub fn written_pages(&self) -> Vec<u64> {
        self.pages.borrow().keys().copied().collect()
    }
}

impl BlockDevice for RamDevice {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        self.read_now(offset, buf).unwrap_or(Ok(()))
    }

    fn read_now(&self, offset: u64, buf: &mut [u8]) -> Option<Result<(), BlockError>> {
        if let Err(error) = check_range(self.size, offset, buf.len()) {
            return Some(Err(error));
        }
        let pages = self.pages.borrow();
        for Span { page, in_page, in_buf } in spans(offset, buf.len()) {
            match pages.get(&page) {
                Some(data) => buf[in_buf].copy_from_slice(&data[in_page]),
                None => buf[in_buf].fill(0),
            }
        }
        Some(Ok(()))
    }

    fn write_now(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        check_range(self.size, offset, data.len())?;
        let mut pages = self.pages.borrow_mut();
        for Span { page, in_page, in_buf } in spans(offset, data.len()) {
            let data = &data[in_buf];
            if data.iter().all(|byte| *byte == 0) && !pages.contains_key(&page) {
                continue;
            }
            pages.entry(page).or_insert_with(|| vec![0; PAGE_SIZE].into_boxed_slice())[in_page].copy_from_slice(data);
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    fn discard(&self, freed: Range<u64>) {
        let page = PAGE_SIZE as u64;
        let whole = freed.start.div_ceil(page)..freed.end / page;
        if whole.start < whole.end {
            let mut pages = self.pages.borrow_mut();
            let inside: Vec<u64> = pages.range(whole).map(|(number, _)| *number).collect();
            for number in inside {
                pages.remove(&number);
            }
        }
    }
}
