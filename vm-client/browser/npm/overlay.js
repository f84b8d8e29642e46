// Written pages in IndexedDB.
//
// Three object stores: `pages` (4 KiB each, by number), `presence` (256-byte rows of bits that say which pages are there,
// computed by vm-browser) and `meta` (one record: the manifest the pages belong to, the epoch and the stamp). Each opening
// takes the next epoch, and a commit of an older one aborts, so two sessions can never interleave. Each commit writes another
// stamp: whoever reads the pages as a layer below others, or has the file of an export, knows by it which state it is.

const HEAD = "head";
export const PAGE_BYTES = 4096;
export const ROW_BYTES = 256;
export const PAGES_PER_ROW = ROW_BYTES * 8;
/** A page and what the database keeps beside it. */
const PAGE_COST = PAGE_BYTES + 256;
/** The room is asked for again after so many commits, or so many pages. */
const MEASURE_COMMITS = 64;
const MEASURE_PAGES = 2048;
/** Never promised to the guest: the database needs some for itself. */
const RESERVE_BYTES = 4 * 1024 * 1024;

export function databaseName(name) {
  return `skiff:${name}`;
}

/** An error whose `name` the Rust side and the page tell apart. */
export function overlayError(name, message, more = {}) {
  return Object.assign(new Error(message), { name }, more);
}

export class IndexedDbPages {
  #db;
  #epoch;
  #rowKeys;
  #rows;
  #room = NaN;
  #usage = 0;
  /** Pages deleted and not yet seen to be gone: the database writes the next ones in their place. */
  #freed = 0;
  #commits = 0;
  #pages = 0;
  #lost = null;
  #manifest;
  #stamp = null;
  #session = newStamp();
  /** Commits that were tried: no two have one stamp. */
  #changes = 0;
  #layer = false;

  /** Opens the pages of `name`, which must belong to `manifest` (or to nothing yet). */
  static async open(name, manifest) {
    const db = await openDatabase(databaseName(name));
    const change = db.transaction(["meta", "presence"], "readwrite", { durability: "strict" });
    const finished = completion(change);
    const meta = change.objectStore("meta");
    const presence = change.objectStore("presence");
    let head;
    const get = meta.get(HEAD);
    get.onsuccess = () => {
      head = get.result ?? { manifest, epoch: 0 };
      if (head.importing || head.manifest !== manifest) return change.abort();
      head.epoch += 1;
      meta.put(head, HEAD);
    };
    const keys = presence.getAllKeys();
    const rows = presence.getAll();
    try {
      await finished;
    } catch (error) {
      db.close();
      if (head?.importing) throw importBroken();
      if (head && head.manifest !== manifest) throw mismatch(head.manifest, manifest);
      throw error;
    }
    const pages = new IndexedDbPages(db, head, keys.result, rows.result);
    await pages.#measure();
    return pages;
  }

  /** Opens the pages of `name` only to read them below others; null when there are none. */
  static async openLayer(name, manifest) {
    if ((await IndexedDbPages.manifestOf(name)) === null) return null;
    const db = await openDatabase(databaseName(name));
    try {
      const view = db.transaction(["meta", "presence"]);
      const presence = view.objectStore("presence");
      const [head, keys, rows] = await Promise.all(
        [view.objectStore("meta").get(HEAD), presence.getAllKeys(), presence.getAll()].map(result),
      );
      if (head.importing) throw importBroken();
      if (head.manifest !== manifest) throw mismatch(head.manifest, manifest);
      const pages = new IndexedDbPages(db, head, keys, rows);
      pages.#layer = true;
      return pages;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  constructor(db, head, rowKeys, rows) {
    this.#db = db;
    this.#epoch = head.epoch;
    this.#manifest = head.manifest;
    this.#stamp = stampOf(head);
    this.#rowKeys = Float64Array.from(rowKeys);
    this.#rows = new Uint8Array(rows.length * ROW_BYTES);
    rows.forEach((row, index) => this.#rows.set(row.subarray(0, ROW_BYTES), index * ROW_BYTES));
    // Another session deletes the database: ours is over.
    db.onversionchange = () => {
      this.#lost = "the saved changes were reset by another tab";
      db.close();
    };
    db.onclose = () => {
      this.#lost = "the browser closed the storage (was site data cleared?)";
    };
  }

  /** The manifest that the pages of `name` belong to, or null when there are none. */
  static async manifestOf(name) {
    if (typeof indexedDB === "undefined") return null;
    if (indexedDB.databases) {
      const all = await indexedDB.databases();
      if (!all.some((database) => database.name === databaseName(name))) return null;
    }
    const db = await openDatabase(databaseName(name));
    try {
      const head = await result(db.transaction("meta").objectStore("meta").get(HEAD));
      return head?.manifest ?? null;
    } finally {
      db.close();
    }
  }

  /** The names of all disks with saved changes. */
  static async names() {
    if (typeof indexedDB === "undefined" || !indexedDB.databases) return [];
    const prefix = databaseName("");
    const all = await indexedDB.databases();
    return all.filter(({ name }) => name?.startsWith(prefix)).map(({ name }) => name.slice(prefix.length)).sort();
  }

  /** Deletes every page of `name`. */
  static async remove(name) {
    await new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(databaseName(name));
      // A session that runs on it closes its connection when it is told to; one that hangs does not.
      const late = () => reject(overlayError("OverlayBusy", "another tab still uses the saved changes"));
      const timer = setTimeout(late, 5000);
      request.onsuccess = () => resolve(clearTimeout(timer));
      request.onerror = () => reject(request.error);
    });
  }

  epoch() {
    return this.#epoch;
  }

  /** What tells this state of the pages from every other. */
  stamp() {
    return this.#stamp;
  }

  rowKeys() {
    return this.#rowKeys;
  }

  rows() {
    return this.#rows;
  }

  room() {
    return this.#room;
  }

  async load(keys) {
    this.#check();
    const view = this.#db.transaction(this.#layer ? ["pages", "meta"] : "pages");
    const head = this.#layer ? result(view.objectStore("meta").get(HEAD)) : null;
    const pages = view.objectStore("pages");
    const found = (await Promise.all(runsOf(keys).map((run) => readRun(pages, run)))).flat();
    if (this.#layer && stampOf(await head) !== this.#stamp) {
      this.#lost = "the disk below was changed by another tab";
      this.#check();
    }
    return found;
  }

  async commit([putKeys, putPages, deleted, rowKeys, rows, blankRows], epoch, strict) {
    this.#check();
    const stores = ["pages", "presence", "meta"];
    const change = this.#db.transaction(stores, "readwrite", { durability: strict ? "strict" : "relaxed" });
    const finished = completion(change);
    const pages = change.objectStore("pages");
    const presence = change.objectStore("presence");
    let fenced = false;
    const stamp = `${this.#session}.${(this.#changes += 1)}`;
    // Everything is asked for at once: if the epoch turns out to be another, the abort takes it all back.
    const meta = change.objectStore("meta");
    const head = meta.get(HEAD);
    head.onsuccess = () => {
      fenced = head.result?.epoch !== epoch;
      if (fenced) change.abort();
    };
    meta.put({ manifest: this.#manifest, epoch, stamp }, HEAD);
    putPages.forEach((page, index) => pages.put(page, putKeys[index]));
    deleted.forEach((key) => pages.delete(key));
    rows.forEach((row, index) => presence.put(row, rowKeys[index]));
    blankRows.forEach((key) => presence.delete(key));
    try {
      await finished;
    } catch (error) {
      if (fenced) throw overlayError("Fenced", "another tab took over the saved changes");
      throw error;
    }
    this.#stamp = stamp;
    this.#commits += 1;
    this.#pages += putPages.length;
    this.#freed = Math.max(0, this.#freed + deleted.length - putPages.length);
    // Until the browser is asked again, every page counts as a new one.
    this.#room = Math.max(0, this.#room + (deleted.length - putPages.length) * PAGE_COST);
    if (this.#room < MEASURE_PAGES * PAGE_COST) await this.#measure();
    else if (this.#commits >= MEASURE_COMMITS || this.#pages >= MEASURE_PAGES) void this.#measure();
  }

  close() {
    this.#db.close();
  }

  #check() {
    if (this.#lost) throw overlayError("Fenced", this.#lost);
  }

  async #measure() {
    this.#commits = this.#pages = 0;
    try {
      const { quota, usage } = await navigator.storage.estimate();
      this.#freed = Math.max(0, this.#freed - Math.max(0, this.#usage - usage) / PAGE_COST);
      this.#usage = usage;
      // What was stored while the browser answered is not in its answer.
      const left = Math.max(0, quota - usage - RESERVE_BYTES - this.#pages * PAGE_COST);
      this.#room = left + this.#freed * PAGE_COST;
    } catch {
      this.#room = NaN;
    }
  }
}

/** A name that no other state has. */
export function newStamp() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Pages stored before there were stamps are told apart by their epoch. */
export function stampOf(head) {
  return head?.stamp ?? `epoch ${head?.epoch}`;
}

export function importBroken() {
  return overlayError("OverlayBroken", "an import of this disk was interrupted: import it again, or reset the disk");
}

function mismatch(theirs, ours) {
  return overlayError("OverlayMismatch", `the saved changes belong to image b3:${theirs}, not to b3:${ours}`, { manifest: theirs });
}

export function openDatabase(name) {
  return new Promise((resolve, reject) => {
    if (typeof indexedDB === "undefined") return reject(overlayError("StorageBlocked", "this browser has no IndexedDB here"));
    let request;
    try {
      request = indexedDB.open(name, 1);
    } catch (error) {
      return reject(overlayError("StorageBlocked", error.message));
    }
    request.onupgradeneeded = () => {
      for (const store of ["pages", "presence", "meta"]) request.result.createObjectStore(store);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(overlayError("StorageBlocked", request.error?.message ?? "the browser refused"));
  });
}

export function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export function completion(change) {
  return new Promise((resolve, reject) => {
    change.oncomplete = () => resolve();
    change.onabort = () => reject(change.error ?? overlayError("AbortError", "the transaction was aborted"));
  });
}

/** Below it, one request for each page costs no more. */
const SHORT_RUN = 4;

/** Splits keys into rows of numbers that follow each other. */
function runsOf(keys) {
  const runs = [];
  for (const key of keys) {
    const run = runs.at(-1);
    if (run && run.at(-1) + 1 === key) run.push(key);
    else runs.push([key]);
  }
  return runs;
}

/** The pages of a run; those that are not there are undefined. One request for all: that each costs its own is most of their price. */
async function readRun(pages, run) {
  if (run.length >= SHORT_RUN) {
    const found = await result(pages.getAll(IDBKeyRange.bound(run[0], run.at(-1)), run.length));
    // Keys are whole numbers, so as many as there can be are all of them.
    if (found.length === run.length) return found;
  }
  return Promise.all(run.map((key) => result(pages.get(key))));
}
