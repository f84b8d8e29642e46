//! The reverse map: for each frame, the pages it is mapped at.
//!
//! Lists are searched from the front, where the newest mapping is: processes that share a library page mostly come and go
//! in stack order, so a removal rarely looks far.

use crate::{MmId, Vpn};

/// The end of a list.
pub(crate) const NO_NODE: u32 = u32::MAX;

struct Node {
    page: Vpn,
    mm: MmId,
    next: u32,
}

/// The nodes of all lists; heads are in the frame pool.
pub(crate) struct ReverseMap {
    nodes: Vec<Node>,
    unused: u32,
}

impl ReverseMap {
    pub(crate) fn new() -> Self {
        Self { nodes: Vec::new(), unused: NO_NODE }
    }

    pub(crate) fn add(&mut self, head: &mut u32, mm: MmId, page: Vpn) {
        let node = Node { page, mm, next: *head };
        if self.unused == NO_NODE {
            *head = self.nodes.len() as u32;
            self.nodes.push(node);
        } else {
            *head = self.unused;
            let slot = &mut self.nodes[self.unused as usize];
            self.unused = slot.next;
            *slot = node;
        }
    }

    pub(crate) fn remove(&mut self, head: &mut u32, mm: MmId, page: Vpn) {
        let mut before = NO_NODE;
        let mut at = *head;
        while at != NO_NODE {
            let node = &self.nodes[at as usize];
            let next = node.next;
            if node.mm == mm && node.page == page {
                if before == NO_NODE {
                    *head = next;
                } else {
                    self.nodes[before as usize].next = next;
                }
                self.nodes[at as usize].next = self.unused;
                self.unused = at;
                return;
            }
            before = at;
            at = next;
        }
        debug_assert!(false, "every mapped page is in the reverse map");
    }

    pub(crate) fn iter(&self, head: u32) -> impl Iterator<Item = (MmId, Vpn)> {
        let mut at = head;
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            at = node.next;
            Some((node.mm, node.page))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_wherever_they_are_in_the_list() {
        let mut map = ReverseMap::new();
        let mut head = NO_NODE;
        for n in 0..3 {
            map.add(&mut head, MmId(n), Vpn(7));
        }
        map.remove(&mut head, MmId(1), Vpn(7));
        assert_eq!(map.iter(head).collect::<Vec<_>>(), [(MmId(2), Vpn(7)), (MmId(0), Vpn(7))]);
        map.remove(&mut head, MmId(2), Vpn(7));
        map.remove(&mut head, MmId(0), Vpn(7));
        assert_eq!(head, NO_NODE);
        map.add(&mut head, MmId(9), Vpn(1));
        assert_eq!(map.nodes.len(), 3, "nodes are used again");
    }
}
