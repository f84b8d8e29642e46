// A disk's saved changes as one file, to keep or to carry to another browser.
//
// The file: "SKIFFDSK", the length of the header (u32, little-endian as everything), the header as JSON
// `{ version: 1, manifest, stamp, pages, made }`, then for each page its number (f64) and its 4096 bytes, then the CRC-32 of all
// that (u32). The numbers ascend. The manifest says which image the pages belong to: they fit no other.

import {
  PAGE_BYTES,
  PAGES_PER_ROW,
  ROW_BYTES,
  completion,
  databaseName,
  importBroken,
  newStamp,
  openDatabase,
  overlayError,
  result,
  stampOf,
} from "./overlay.js";

const MAGIC = new TextEncoder().encode("SKIFFDSK");
const RECORD = 8 + PAGE_BYTES;
const MOST_HEADER = 64 * 1024;
/** Pages read or written at a time. */
const BATCH = 256;
const TYPE = "application/vnd.skiff.disk";

/**
 * Everything stored under `name` at one moment; with `unsaved`, and what the session of that `epoch` could not store: `put`
 * (numbers, and the pages one behind the other) and `deleted` (numbers).
 */
export async function exportPages(name, unsaved) {
  const db = await openDatabase(databaseName(name));
  try {
    // One transaction sees one state; commits of a machine that runs wait for it.
    const view = db.transaction(["pages", "meta"]);
    const head = await result(view.objectStore("meta").get("head"));
    if (unsaved && head?.epoch !== unsaved.epoch) {
      throw overlayError("Fenced", "the stored changes are no longer those of this machine: another tab took them over, or they were cleared");
    }
    if (!head) throw overlayError("NothingSaved", "there are no saved changes");
    if (head.importing) throw importBroken();
    const pages = view.objectStore("pages");
    const covered = new Set(unsaved ? [...unsaved.numbers, ...unsaved.deleted] : []);
    const stored = covered.size ? await storedOf(pages, covered) : 0;
    const count = (await result(pages.count())) - stored + (unsaved?.numbers.length ?? 0);
    // With what is not stored it is a state that has no stamp yet.
    const { add, finish } = begin(head.manifest, unsaved ? newStamp() : stampOf(head), count);
    const waiting = unsaved ? inOrder(unsaved) : [];
    let next = 0;
    let range = null;
    for (;;) {
      const [keys, values] = await Promise.all([result(pages.getAllKeys(range, BATCH)), result(pages.getAll(range, BATCH))]);
      const batch = keys.map((key, index) => [key, values[index]]).filter(([key]) => !covered.has(key));
      // Of what is not stored, all that comes before the last of these; once there are no more stored ones, the rest.
      const last = keys.length ? keys.at(-1) : Infinity;
      for (; next < waiting.length && waiting[next][0] <= last; next += 1) batch.push(waiting[next]);
      add(recordsOf(batch.sort(ascending)));
      if (keys.length === 0) break;
      range = IDBKeyRange.lowerBound(last, true);
    }
    return finish();
  } finally {
    db.close();
  }
}

/** Changes that are nowhere but in a machine's memory. */
export function exportUnsaved(manifest, unsaved) {
  const { add, finish } = begin(manifest, newStamp(), unsaved.numbers.length);
  add(recordsOf(inOrder(unsaved)));
  return finish();
}

const ascending = ([one], [other]) => one - other;

/** Numbers and their pages. */
function inOrder({ numbers, pages }) {
  const pairs = Array.from(numbers, (number, index) => [number, pages.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES)]);
  return pairs.sort(ascending);
}

/** How many of these pages are stored. */
async function storedOf(pages, numbers) {
  const found = await Promise.all(Array.from(numbers, (number) => result(pages.count(number))));
  return found.reduce((sum, one) => sum + one, 0);
}

function recordsOf(pairs) {
  const records = new Uint8Array(pairs.length * RECORD);
  const view = new DataView(records.buffer);
  pairs.forEach(([number, page], index) => {
    view.setFloat64(index * RECORD, number, true);
    records.set(page, index * RECORD + 8);
  });
  return records;
}

/** The head of a file, and what adds to it and ends it. */
function begin(manifest, stamp, count) {
  const header = new TextEncoder().encode(JSON.stringify({ version: 1, manifest, stamp, pages: count, made: new Date().toISOString() }));
  const crc = new Crc32();
  const parts = [];
  const add = (bytes) => (crc.update(bytes), parts.push(bytes));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, header.length, true);
  for (const bytes of [MAGIC, length, header]) add(bytes);
  const finish = () => {
    const sum = new Uint8Array(4);
    new DataView(sum.buffer).setUint32(0, crc.value(), true);
    return new Blob([...parts, sum], { type: TYPE });
  };
  return { add, finish };
}

/**
 * Puts an exported file in the place of whatever is stored under `name`. The file is checked before anything is changed; an
 * import that is interrupted leaves a disk that says so, never half of one that looks whole.
 */
export async function importPages(name, file) {
  const { header, start } = await check(file);
  const db = await openDatabase(databaseName(name));
  try {
    const clear = db.transaction(["pages", "presence", "meta"], "readwrite", { durability: "strict" });
    const cleared = completion(clear);
    let epoch = 0;
    const meta = clear.objectStore("meta");
    const get = meta.get("head");
    get.onsuccess = () => {
      epoch = (get.result?.epoch ?? 0) + 1;
      meta.put({ manifest: header.manifest, epoch, importing: true }, "head");
    };
    clear.objectStore("pages").clear();
    clear.objectStore("presence").clear();
    await cleared;

    const rows = new Map();
    for (let at = 0; at < header.pages; at += BATCH) {
      const count = Math.min(BATCH, header.pages - at);
      const bytes = await slice(file, start + at * RECORD, count * RECORD);
      const put = db.transaction("pages", "readwrite", { durability: "relaxed" });
      const stored = completion(put);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      for (let index = 0; index < count; index += 1) {
        const key = view.getFloat64(index * RECORD, true);
        put.objectStore("pages").put(bytes.slice(index * RECORD + 8, (index + 1) * RECORD), key);
        const [row, bit] = [Math.floor(key / PAGES_PER_ROW), key % PAGES_PER_ROW];
        if (!rows.has(row)) rows.set(row, new Uint8Array(ROW_BYTES));
        rows.get(row)[bit >> 3] |= 1 << (bit & 7);
      }
      await stored;
    }

    const finish = db.transaction(["presence", "meta"], "readwrite", { durability: "strict" });
    const finished = completion(finish);
    for (const [number, row] of rows) finish.objectStore("presence").put(row, number);
    let taken = false;
    const head = finish.objectStore("meta").get("head");
    head.onsuccess = () => {
      taken = head.result?.epoch !== epoch;
      if (taken) return finish.abort();
      finish.objectStore("meta").put({ manifest: header.manifest, epoch, stamp: header.stamp ?? newStamp() }, "head");
    };
    await finished.catch((error) => {
      throw taken ? overlayError("OverlayBusy", "another tab took over the disk during the import") : error;
    });
  } finally {
    db.close();
  }
  return { manifest: header.manifest, pages: header.pages };
}

/** Reads the whole file once: its header, every page number, its checksum. */
async function check(file) {
  const bad = (why) => overlayError("BadArchive", `this is no exported disk, or it is damaged: ${why}`);
  const short = (bytes) =>
    overlayError("BadArchive", `this exported disk is cut short: it has ${file.size} bytes of ${bytes}. Fetch or export it again`);
  const front = await slice(file, 0, Math.min(file.size, MAGIC.length + 4));
  if (!MAGIC.every((byte, index) => index >= front.length || front[index] === byte)) throw bad("it begins differently");
  if (front.length < MAGIC.length + 4) throw short(`at least ${MAGIC.length + 4}`);
  const length = new DataView(front.buffer, front.byteOffset).getUint32(MAGIC.length, true);
  if (length > MOST_HEADER) throw bad("its header is too long");
  const start = MAGIC.length + 4 + length;
  if (file.size < start) throw short(`at least ${start}`);
  let header;
  try {
    header = JSON.parse(new TextDecoder().decode(await slice(file, MAGIC.length + 4, length)));
  } catch {
    throw bad("its header cannot be read");
  }
  const { version, manifest, pages } = header ?? {};
  if (version !== 1) throw bad(`its version is ${version}; this client reads version 1`);
  if (!/^[0-9a-f]{64}$/.test(manifest) || !Number.isSafeInteger(pages) || pages < 0) throw bad("its header makes no sense");
  if (file.size < start + pages * RECORD + 4) throw short(start + pages * RECORD + 4);
  if (file.size !== start + pages * RECORD + 4) throw bad(`it has ${file.size} bytes, its header says ${start + pages * RECORD + 4}`);
  if (header.stamp !== undefined && !/^[ -~]{1,64}$/.test(header.stamp)) throw bad("its header makes no sense");
  const crc = new Crc32();
  crc.update(await slice(file, 0, start));
  let last = -1;
  for (let at = 0; at < pages; at += BATCH) {
    const count = Math.min(BATCH, pages - at);
    const bytes = await slice(file, start + at * RECORD, count * RECORD);
    crc.update(bytes);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let index = 0; index < count; index += 1) {
      const key = view.getFloat64(index * RECORD, true);
      if (!Number.isSafeInteger(key) || key <= last) throw bad("its pages are out of order");
      last = key;
    }
  }
  const sum = await slice(file, file.size - 4, 4);
  if (new DataView(sum.buffer, sum.byteOffset).getUint32(0, true) !== crc.value()) throw bad("its checksum is wrong");
  return { header, start };
}

async function slice(file, start, length) {
  return new Uint8Array(await file.slice(start, start + length).arrayBuffer());
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** The CRC-32 of zip and PNG. `crypto.subtle` is not there over plain HTTP. */
class Crc32 {
  #value = 0xffffffff;

  update(bytes) {
    let value = this.#value;
    for (let index = 0; index < bytes.length; index += 1) value = TABLE[(value ^ bytes[index]) & 255] ^ (value >>> 8);
    this.#value = value;
  }

  value() {
    return (this.#value ^ 0xffffffff) >>> 0;
  }
}
