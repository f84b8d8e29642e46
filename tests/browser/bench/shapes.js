// Run in the page by bench.mjs: a gigabyte of pages in IndexedDB in three shapes.
//
// - chosen: `IndexedDbPages`, one record a page and rows of bits that say which pages there are.
// - no-index: one record a page, `getAllKeys` at the opening.
// - records-of-8: eight pages a record.

const PAGES = 262_144;
const PAGE = 4096;
const ROW_PAGES = 2048;

const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
const finished = (change) => new Promise((resolve) => (change.oncomplete = resolve));
const ms = (from) => `${(performance.now() - from).toFixed(0)} ms`;

function* scattered(count, below) {
  let seed = 7;
  for (let i = 0; i < count; i += 1) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    yield Math.floor((seed / 2 ** 32) * below);
  }
}

function page(number, pages = 1) {
  const words = new Uint32Array((PAGE / 4) * pages);
  for (let at = 0; at < words.length; at += 16) words[at] = number * 31 + at;
  return new Uint8Array(words.buffer);
}

globalThis.shapes = async (name) => (name === "chosen" ? chosen() : plain(name === "no-index" ? 1 : 8, name));

async function chosen() {
  const manifest = "ab".repeat(32);
  let pages = await globalThis.Pages.open("bench", manifest);
  const full = new Uint8Array(256).fill(255);
  const fill = performance.now();
  for (let row = 0; row < PAGES / ROW_PAGES; row += 1) {
    for (let from = 0; from < ROW_PAGES; from += 512) {
      const keys = Float64Array.from({ length: 512 }, (_, index) => row * ROW_PAGES + from + index);
      const put = Array.from(keys, (key) => page(key));
      await pages.commit([keys, put, new Float64Array(), [row], [full], []], pages.epoch(), false);
    }
  }
  const figures = [["filling", ms(fill)]];
  pages.close();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const before = performance.memory.usedJSHeapSize;
  const open = performance.now();
  pages = await globalThis.Pages.open("bench", manifest);
  const bits = pages.rows().reduce((sum, byte) => sum + (byte === 255 ? 8 : 0), 0);
  figures.push([`opening (${bits} pages)`, ms(open)]);
  figures.push(["memory taken by opening", `${((performance.memory.usedJSHeapSize - before) / 2 ** 20).toFixed(1)} MB`]);
  const read = performance.now();
  const found = await pages.load(Float64Array.from(scattered(800, PAGES)));
  if (found.some((bytes) => bytes?.length !== PAGE)) throw new Error("a page is missing");
  figures.push(["reading 800 scattered pages", ms(read)]);
  const write = performance.now();
  const keys = Float64Array.from(new Set(scattered(64, PAGES)));
  await pages.commit([keys, Array.from(keys, (key) => page(key)), new Float64Array(), [], [], []], pages.epoch(), false);
  figures.push(["a commit of 64 scattered pages", ms(write)]);
  const strict = performance.now();
  await pages.commit([Float64Array.of(5), [page(5)], new Float64Array(), [], [], []], pages.epoch(), true);
  figures.push(["a strict commit of one page", ms(strict)]);
  pages.close();
  await globalThis.Pages.remove("bench");
  return figures;
}

async function plain(perRecord, name) {
  const connect = async () => {
    const request = indexedDB.open(`bench-${name}`, 1);
    request.onupgradeneeded = () => request.result.createObjectStore("p");
    return result(request);
  };
  let db = await connect();
  const records = PAGES / perRecord;
  const fill = performance.now();
  for (let from = 0; from < records; from += 512 / perRecord) {
    const change = db.transaction("p", "readwrite", { durability: "relaxed" });
    const done = finished(change);
    for (let at = from; at < from + 512 / perRecord; at += 1) change.objectStore("p").put(page(at, perRecord), at);
    await done;
  }
  const figures = [["filling", ms(fill)]];
  db.close();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const open = performance.now();
  db = await connect();
  const keys = await result(db.transaction("p").objectStore("p").getAllKeys());
  figures.push([`opening (${keys.length * perRecord} pages)`, ms(open)]);
  const read = performance.now();
  const store = db.transaction("p").objectStore("p");
  await Promise.all(Array.from(scattered(800, records), (key) => result(store.get(key))));
  figures.push(["reading 800 scattered pages", ms(read)]);
  const write = performance.now();
  const change = db.transaction("p", "readwrite", { durability: "relaxed" });
  const done = finished(change);
  for (const key of scattered(64, records)) change.objectStore("p").put(page(key, perRecord), key);
  await done;
  figures.push(["a commit of 64 scattered pages", ms(write)]);
  db.close();
  await result(indexedDB.deleteDatabase(`bench-${name}`));
  return figures;
}
