//! Code that earlier runs found hot, by frame: it is compiled after few times, with the blocks and the targets of jumps that
//! it was compiled with then. And what this run compiles, for later ones.

use vm_cpu::{Hot, HotPage};
use vm_mem::FrameId;

use crate::cache::AddressMap;
use crate::plan::{End, Region};

/// How often expected code is interpreted before it is compiled: most that runs so often once goes on to run more.
pub const EARLY: u32 = 50;
/// What is kept for later runs until somebody takes it; more is not worth the memory.
const MOST_HOT: usize = 1 << 16;

/// See the module.
#[derive(Default)]
pub struct Expected {
    pages: AddressMap<FrameId, HotPage>,
    hot: Vec<Hot>,
}

impl Expected {
    /// Takes what is known of the code in a frame, in place of what was known before; everything in order.
    pub fn set(&mut self, frame: FrameId, page: HotPage) {
        if page.is_empty() {
            self.pages.remove(&frame);
        } else {
            self.pages.insert(frame, page);
        }
    }

    /// Whether compiled code began at an address, whose frame this is.
    pub fn is_start(&self, frame: FrameId, address: u32) -> bool {
        self.page(frame).is_some_and(|page| page.starts.binary_search(&offset(address)).is_ok())
    }

    /// Whether the block at an address was part of compiled code.
    pub fn is_block(&self, frame: FrameId, address: u32) -> bool {
        self.page(frame).is_some_and(|page| page.blocks.binary_search(&offset(address)).is_ok())
    }

    /// Where the jump that ends at an address led; its last byte is in the frame.
    pub fn jumps_from(&self, frame: FrameId, behind: u32) -> impl Iterator<Item = u32> + '_ {
        let at = offset(behind.wrapping_sub(1)) + 1;
        let jumps = self.page(frame).map_or(&[] as &[(u16, i32)], |page| page.jumps.as_slice());
        let from = jumps.partition_point(|(behind, _)| *behind < at);
        let these = jumps.iter().skip(from).take_while(move |(behind, _)| *behind == at);
        these.map(move |(_, distance)| behind.wrapping_add_signed(*distance))
    }

    fn page(&self, frame: FrameId) -> Option<&HotPage> {
        if self.pages.is_empty() { None } else { self.pages.get(&frame) }
    }

    /// Notes a region that was compiled.
    pub fn note(&mut self, region: &Region) {
        if self.hot.len() > MOST_HOT {
            return;
        }
        self.hot.push(Hot::Start(region.start()));
        for node in region.nodes.iter().filter(|node| node.is_code()) {
            self.hot.push(Hot::Block(node.start()));
            if let End::JumpIndirect(Some(table)) = node.end
                && let End::Dispatch(table) = region.nodes[table].end
            {
                let behind = node.found.block.end() as u32;
                let targets = region.tables[table].iter().map(|&to| region.nodes[to].start());
                self.hot.extend(targets.map(|to| Hot::Jump { behind, to }));
            }
        }
    }

    /// Takes what was noted.
    pub fn take_hot(&mut self) -> Vec<Hot> {
        std::mem::take(&mut self.hot)
    }
}

fn offset(address: u32) -> u16 {
    (address & 0xfff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_frame_until_it_is_told_anew() {
        let mut expected = Expected::default();
        let page =
            HotPage { starts: vec![0x10], blocks: vec![0x10, 0x20], jumps: vec![(0x30, -8), (0x30, 16), (4096, 0)] };
        expected.set(FrameId(7), page);
        assert!(expected.is_start(FrameId(7), 0x5010) && !expected.is_start(FrameId(7), 0x5020));
        assert!(expected.is_block(FrameId(7), 0x9020) && !expected.is_block(FrameId(8), 0x9020));
        let jumps = |behind| expected.jumps_from(FrameId(7), behind).collect::<Vec<u32>>();
        assert_eq!(jumps(0x5030), [0x5028, 0x5040]);
        assert_eq!(jumps(0x6000), [0x6000]);
        assert_eq!(jumps(0x5031), [0; 0]);
        expected.set(FrameId(7), HotPage::default());
        assert!(!expected.is_start(FrameId(7), 0x5010));
    }
}
