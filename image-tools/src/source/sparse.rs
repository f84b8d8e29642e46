//! The four ways in which tar archives keep sparse files.

use anyhow::{Context, Result, bail, ensure};

use super::data::{Extent, Piece};
use super::tar::{BLOCK, Records, decimal, number};

/// More runs than this are nonsense.
const RUN_LIMIT: usize = 4 << 20;

/// Where the data of a sparse file goes.
pub(super) struct Map {
    /// Bytes of the file, holes included.
    pub(super) size: u64,
    /// Offset and length of each run of data, in the order in which they are stored.
    runs: Vec<(u64, u64)>,
    /// Bytes of the stored data that are the map itself.
    skip: u64,
}

impl Map {
    /// Where the runs lie, given where the stored data starts and how long it is.
    pub(super) fn pieces(self, data_at: u64, stored: u64) -> Result<Vec<Piece>> {
        let mut from = self.skip;
        let mut pieces = Vec::new();
        let mut last = 0;
        for (at, len) in self.runs {
            ensure!(at >= last, "a sparse map out of order");
            last = at.checked_add(len).filter(|end| *end <= self.size).context("a sparse map beyond its file")?;
            if len > 0 {
                pieces.push(Piece { at, from: data_at + from, len });
            }
            from = from.checked_add(len).filter(|end| *end <= stored).context("a sparse map beyond its data")?;
        }
        Ok(pieces)
    }
}

/// Type `S`: the map is in the header and in blocks after it. Returns it and how many blocks those are.
pub(super) fn old_gnu(header: &[u8], archive: &Extent, at: u64) -> Result<(Map, u64)> {
    let field = |bytes: &[u8], from: usize, len: usize| -> Result<u64> {
        let field = bytes.get(from..from + len).context("a short header")?;
        u64::try_from(number(field)?).context("a negative number in a sparse map")
    };
    let mut runs = Vec::new();
    let mut take = |bytes: &[u8], start: usize, count: usize| -> Result<()> {
        for slot in 0..count {
            let from = start + slot * 24;
            // An empty slot ends the list.
            if bytes.get(from + 12).is_none_or(|byte| *byte == 0) {
                break;
            }
            runs.push((field(bytes, from, 12)?, field(bytes, from + 12, 12)?));
        }
        ensure!(runs.len() < RUN_LIMIT, "a sparse map without an end");
        Ok(())
    };
    take(header, 386, 4)?;
    let size = field(header, 483, 12)?;
    let mut more = header.get(482).is_some_and(|byte| *byte != 0);
    let mut blocks = 0;
    while more {
        let mut block = [0; BLOCK as usize];
        archive.read_at(at + blocks * BLOCK, &mut block).context("the archive ends early")?;
        take(&block, 0, 21)?;
        more = block.get(504).is_some_and(|byte| *byte != 0);
        blocks += 1;
    }
    Ok((Map { size, runs, skip: 0 }, blocks))
}

/// PAX formats 0.0, 0.1 (the map is in the records) and 1.0 (before the data); `None` for a file that is not sparse.
pub(super) fn pax(records: &Records, archive: &Extent, at: u64) -> Result<Option<Map>> {
    let find = |key: &str| records.iter().rev().find(|(found, _)| found == key.as_bytes()).map(|(_, value)| value);
    if let Some(major) = find("GNU.sparse.major") {
        let minor = find("GNU.sparse.minor").map(Vec::as_slice);
        if (major.as_slice(), minor) != (b"1", Some(b"0")) {
            bail!("a sparse file of an unknown format {}", String::from_utf8_lossy(major));
        }
        let size = decimal(find("GNU.sparse.realsize").context("a sparse file without a size")?)?;
        return before_data(size, archive, at).map(Some);
    }
    let Some(size) = find("GNU.sparse.size") else { return Ok(None) };
    let size = decimal(size)?;
    let numbers: Vec<u64> = match find("GNU.sparse.map") {
        Some(map) => map.split(|byte| *byte == b',').map(decimal).collect::<Result<_>>()?,
        None => {
            let runs = records.iter().filter(|(key, _)| key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes");
            runs.map(|(_, value)| decimal(value)).collect::<Result<_>>()?
        }
    };
    let (pairs, odd) = numbers.as_chunks::<2>();
    ensure!(odd.is_empty(), "a sparse map with half a run");
    Ok(Some(Map { size, runs: pairs.iter().map(|[at, len]| (*at, *len)).collect(), skip: 0 }))
}

/// Format 1.0: decimal numbers, one a line: the count, then offset and length of each run; padded to a block.
fn before_data(size: u64, archive: &Extent, at: u64) -> Result<Map> {
    let mut text = Vec::new();
    let mut numbers = Vec::new();
    let mut blocks = 0;
    let mut wanted = 1;
    while numbers.len() < wanted {
        let mut block = [0; BLOCK as usize];
        archive.read_at(at + blocks * BLOCK, &mut block).context("the archive ends early")?;
        blocks += 1;
        text.extend_from_slice(&block);
        while numbers.len() < wanted {
            let Some(end) = text.iter().position(|byte| *byte == b'\n') else { break };
            let line: Vec<u8> = text.drain(..=end).collect();
            numbers.push(decimal(line.trim_ascii_end())?);
            if let [count] = numbers[..] {
                wanted =
                    usize::try_from(count).ok().filter(|count| *count < RUN_LIMIT).context("a sparse map too long")?;
                wanted = 1 + 2 * wanted;
            }
        }
        ensure!(text.len() < 1024, "a sparse map that is not numbers");
    }
    let (pairs, _) = numbers.get(1..).unwrap_or_default().as_chunks::<2>();
    Ok(Map { size, runs: pairs.iter().map(|[at, len]| (*at, *len)).collect(), skip: blocks * BLOCK })
}
