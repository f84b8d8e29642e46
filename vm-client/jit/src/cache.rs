//! The regions there is code for, or will be soon: found by address, dropped when bytes they were made from change.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use vm_mem::FrameId;

use crate::emit::Function;
use crate::host::ModuleId;
use crate::plan::Region;

/// The number of a region.
pub type RegionId = u32;

/// A region with code, or one that is being compiled.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Where it can be entered, each address with its frame; first where it begins.
    pub entries: Vec<(u32, FrameId)>,
    /// What it takes for granted, by the interpreter's number.
    pub flavour: u16,
    /// The pages it was made from, each with its frame.
    pub pages: Vec<(u32, FrameId)>,
    /// The bytes it was made from.
    pub spans: Vec<(FrameId, Range<u16>)>,
    /// Its slot in the table.
    pub slot: u32,
    /// Its module; nothing until that is installed.
    pub module: Option<ModuleId>,
    /// Its code and exits, once they are emitted.
    pub function: Function,
    /// The blocks it was made from.
    pub blocks: Vec<(FrameId, u32)>,
    /// When it was entered from outside last, in a count of such entries.
    pub used: u64,
    /// How often it wanted a window that was not to be had.
    pub missed_windows: u32,
}

/// The bytes of each frame that a region was made from.
pub fn spans(region: &Region) -> Vec<(FrameId, Range<u16>)> {
    let mut spans = Vec::new();
    for node in region.nodes.iter().filter(|node| node.is_code()) {
        let from = (node.start() & 0xfff) as u16;
        let to = from + node.found.block.len;
        spans.push((node.found.frame, from..to.min(4096)));
        if let Some(second) = node.found.second
            && to > 4096
        {
            spans.push((second, 0..to - 4096));
        }
    }
    spans
}

/// A hash for keys made of addresses and frames, which the dispatcher looks for all the time. Guests choose them and can
/// only slow down themselves.
#[derive(Default)]
pub struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }
    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// A map by addresses or frames.
pub type AddressMap<K, V> = HashMap<K, V, BuildHasherDefault<AddressHasher>>;

/// See the module.
#[derive(Default)]
pub struct Regions {
    regions: Vec<Option<Compiled>>,
    free: Vec<RegionId>,
    /// Regions of each module.
    modules: HashMap<ModuleId, u32>,
    by_address: AddressMap<u32, Vec<RegionId>>,
    by_frame: AddressMap<FrameId, Vec<RegionId>>,
    /// How many regions a block is in.
    blocks: AddressMap<(FrameId, u32), u32>,
    /// Bytes of WebAssembly of all.
    pub size: usize,
}

impl Regions {
    /// A number for a region that will be added.
    pub fn take_id(&mut self) -> RegionId {
        self.free.pop().unwrap_or_else(|| {
            self.regions.push(None);
            self.regions.len() as RegionId - 1
        })
    }

    /// Adds a region; tells the frames that had none before.
    pub fn add(&mut self, id: RegionId, region: Compiled) -> Vec<FrameId> {
        self.size += region.function.code.len();
        for &(start, _) in &region.entries {
            self.by_address.entry(start).or_default().push(id);
        }
        for &block in &region.blocks {
            *self.blocks.entry(block).or_default() += 1;
        }
        let mut new = Vec::new();
        for &(_, frame) in &region.pages {
            let list = self.by_frame.entry(frame).or_default();
            if list.is_empty() {
                new.push(frame);
            }
            if !list.contains(&id) {
                list.push(id);
            }
        }
        if let Some(place) = self.regions.get_mut(id as usize) {
            *place = Some(region);
        }
        new
    }

    /// Gives a region its code.
    pub fn set_function(&mut self, id: RegionId, function: Function) {
        if let Some(region) = self.regions.get_mut(id as usize).and_then(Option::as_mut) {
            self.size = self.size - region.function.code.len() + function.code.len();
            region.function = function;
        }
    }

    /// Notes that the code of a region is in a module from now on. Returns the module it was in before, if it was the last
    /// one there.
    pub fn join_module(&mut self, id: RegionId, module: ModuleId) -> Option<ModuleId> {
        let region = self.regions.get_mut(id as usize)?.as_mut()?;
        *self.modules.entry(module).or_default() += 1;
        let old = region.module.replace(module)?;
        self.leave_module(old).then_some(old)
    }

    /// Removes a region; tells the frames that have none any more.
    pub fn remove(&mut self, id: RegionId) -> Option<(Compiled, Vec<FrameId>)> {
        let region = self.regions.get_mut(id as usize)?.take()?;
        self.free.push(id);
        self.size -= region.function.code.len();
        for (start, _) in &region.entries {
            if let Some(list) = self.by_address.get_mut(start) {
                list.retain(|&other| other != id);
                if list.is_empty() {
                    self.by_address.remove(start);
                }
            }
        }
        for block in &region.blocks {
            if let Some(count) = self.blocks.get_mut(block) {
                *count -= 1;
                if *count == 0 {
                    self.blocks.remove(block);
                }
            }
        }
        let mut emptied = Vec::new();
        for &(_, frame) in &region.pages {
            if let Some(list) = self.by_frame.get_mut(&frame) {
                list.retain(|&other| other != id);
                if list.is_empty() {
                    self.by_frame.remove(&frame);
                    emptied.push(frame);
                }
            }
        }
        Some((region, emptied))
    }

    /// Notes that a region of a module was removed; tells whether it was the last.
    pub fn leave_module(&mut self, module: ModuleId) -> bool {
        let Some(left) = self.modules.get_mut(&module) else { return false };
        *left -= 1;
        let last = *left == 0;
        if last {
            self.modules.remove(&module);
        }
        last
    }

    /// Whether a block is in some region.
    pub fn has_block(&self, block: (FrameId, u32)) -> bool {
        self.blocks.contains_key(&block)
    }

    /// Some of the modules that were used longest ago, each with its regions, whose code together has so many bytes at most;
    /// those that are large already are left out.
    pub fn old_modules(&self, most_bytes: usize) -> Vec<(ModuleId, Vec<RegionId>)> {
        let mut all: HashMap<ModuleId, (u64, usize, Vec<RegionId>)> = HashMap::new();
        for (id, region) in self.iter() {
            let Some(module) = region.module else { continue };
            let (used, bytes, regions) = all.entry(module).or_default();
            *used = region.used.max(*used);
            *bytes += region.function.code.len();
            regions.push(id);
        }
        let mut all: Vec<_> = all.into_iter().filter(|(_, (_, bytes, _))| 2 * bytes <= most_bytes).collect();
        all.sort_unstable_by_key(|(module, (used, ..))| (*used, module.0));
        let mut sum = 0;
        let fitting = all.into_iter().take_while(|(_, (_, bytes, _))| {
            sum += bytes;
            sum <= most_bytes
        });
        fitting.map(|(module, (_, _, regions))| (module, regions)).collect()
    }

    /// How many modules there are.
    pub fn modules(&self) -> usize {
        self.modules.len()
    }

    /// A region by number.
    pub fn get(&self, id: RegionId) -> Option<&Compiled> {
        self.regions.get(id as usize)?.as_ref()
    }

    /// A region by number, to be changed.
    pub fn get_mut(&mut self, id: RegionId) -> Option<&mut Compiled> {
        self.regions.get_mut(id as usize)?.as_mut()
    }

    /// The regions that begin at an address.
    pub fn at(&self, address: u32) -> &[RegionId] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// The regions made from any of these bytes.
    pub fn touching(&self, frame: FrameId, bytes: &Range<u16>) -> Vec<RegionId> {
        let Some(list) = self.by_frame.get(&frame) else { return Vec::new() };
        let hit = |id: &RegionId| {
            self.get(*id).is_some_and(|region| {
                region.spans.iter().any(|(f, span)| *f == frame && span.start < bytes.end && bytes.start < span.end)
            })
        };
        list.iter().copied().filter(hit).collect()
    }

    /// All regions.
    pub fn iter(&self) -> impl Iterator<Item = (RegionId, &Compiled)> {
        self.regions.iter().enumerate().filter_map(|(id, region)| Some((id as RegionId, region.as_ref()?)))
    }
}
