//! A page that was written, perhaps in part.

use bytes::Bytes;

use crate::PAGE_SIZE;

/// The smallest write: a quarter of a page, the smallest ext2 block.
pub(super) const UNIT: usize = 1024;
const WHOLE: u8 = 0b1111;

/// Content of a page and which quarters of it are known.
#[derive(Clone)]
pub(super) struct DirtyPage {
    content: Content,
    known: u8,
}

#[derive(Clone)]
enum Content {
    Own(Vec<u8>),
    /// Handed out to a commit; copied when written again.
    Shared(Bytes),
}

impl Default for DirtyPage {
    fn default() -> Self {
        Self { content: Content::Own(vec![0; PAGE_SIZE]), known: 0 }
    }
}

impl DirtyPage {
    fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Own(bytes) => bytes,
            Content::Shared(bytes) => bytes,
        }
    }

    fn own(&mut self) -> &mut Vec<u8> {
        if let Content::Shared(bytes) = &self.content {
            self.content = Content::Own(bytes.to_vec());
        }
        match &mut self.content {
            Content::Own(bytes) => bytes,
            Content::Shared(_) => unreachable!("it was made its own above"),
        }
    }

    /// Whether every quarter is known.
    pub(super) fn is_whole(&self) -> bool {
        self.known == WHOLE
    }

    /// Overwrites whole quarters from `at` on.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        if let Some(target) = self.own().get_mut(at..at + data.len()) {
            target.copy_from_slice(data);
        }
        for unit in at / UNIT..(at + data.len()).div_ceil(UNIT) {
            self.known |= 1 << unit;
        }
    }

    /// Copies the known quarters.
    pub(super) fn copy_to(&self, page: &mut [u8]) {
        if self.is_whole() {
            page.copy_from_slice(self.bytes());
            return;
        }
        for (unit, (to, from)) in page.chunks_mut(UNIT).zip(self.bytes().chunks(UNIT)).enumerate() {
            if self.known >> unit & 1 == 1 {
                to.copy_from_slice(from);
            }
        }
    }

    /// Fills the unknown quarters from an older content of the page.
    pub(super) fn fill_from(&mut self, older: &[u8]) {
        let known = self.known;
        for (unit, (to, from)) in self.own().chunks_mut(UNIT).zip(older.chunks(UNIT)).enumerate() {
            if known >> unit & 1 == 0 {
                to.copy_from_slice(from);
            }
        }
        self.known = WHOLE;
    }

    /// Fills the unknown quarters from those an older page knows.
    pub(super) fn fill_from_page(&mut self, older: &DirtyPage) {
        let mut merged = older.clone();
        for (unit, from) in self.bytes().chunks(UNIT).enumerate() {
            if self.known >> unit & 1 == 1 {
                merged.write(unit * UNIT, from);
            }
        }
        *self = merged;
    }

    /// The whole content, shared with the page.
    pub(super) fn share(&mut self) -> Bytes {
        if let Content::Own(bytes) = &mut self.content {
            self.content = Content::Shared(std::mem::take(bytes).into());
        }
        match &self.content {
            Content::Shared(bytes) => bytes.clone(),
            Content::Own(_) => unreachable!("it was shared above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_are_known_one_by_one() {
        let mut page = DirtyPage::default();
        page.write(1024, &[1; 1024]);
        let mut older = DirtyPage::default();
        older.write(0, &[2; 2048]);
        page.fill_from_page(&older);
        let mut seen = vec![9; PAGE_SIZE];
        page.copy_to(&mut seen);
        assert_eq!([seen[0], seen[1024], seen[2048], seen[4095]], [2, 1, 9, 9]);
        page.fill_from(&[3; PAGE_SIZE]);
        assert!(page.is_whole());
        let shared = page.share();
        page.write(0, &[7; 1024]);
        assert_eq!([shared[0], shared[1024], shared[2048]], [2, 1, 3]);
    }
}
