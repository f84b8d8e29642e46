// Files of a machine, while it runs: names and shapes of Node's `fs/promises`, errors in Linux's words.
//
// The machine does what the calls say as root, on whatever is mounted at the path. Big files go in pieces, each a message.

import { encodeInput } from "./process.js";

/** Flags of open(2) on i386. */
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const WRITE_FLAGS = { w: O_CREAT | O_TRUNC, wx: O_CREAT | O_EXCL, a: O_CREAT | O_APPEND, ax: O_CREAT | O_EXCL | O_APPEND };
const PIECE = 1 << 20;

/** Bits of inotify(7) and what they are called here; a rename within a directory is two events with one cookie. */
const EVENTS = [
  [0x2, "modify"],
  [0x4, "attrib"],
  [0x8, "close_write"],
  [0x40, "moved_from"],
  [0x80, "moved_to"],
  [0x100, "create"],
  [0x200, "delete"],
  [0x400, "delete_self"],
  [0x800, "move_self"],
  [0x8000, "ignored"],
];
const IS_DIRECTORY = 0x40000000;

export class FileSystem {
  #call;
  #send;
  #watches = new Map();
  /** Events that came before the answer to the call that made their watch. */
  #early = new Map();

  /** `call` sends a request and waits for its answer, `send` does not. */
  constructor(call, send) {
    this.#call = (op, ...args) => call({ type: "fs", op, args });
    this.#send = (op, ...args) => send({ type: "fs", op, args });
  }

  async readFile(path, options = {}) {
    const { encoding } = typeof options === "string" ? { encoding: options } : options;
    if (encoding !== undefined && encoding !== null && !/^utf-?8$/i.test(encoding)) {
      throw new TypeError(`encoding is "utf8" or nothing, not ${JSON.stringify(encoding)}`);
    }
    const pieces = [];
    for await (const piece of this.readStream(path)) pieces.push(piece);
    const all = pieces.length === 1 ? pieces[0] : new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
    if (pieces.length > 1) pieces.reduce((at, piece) => (all.set(piece, at), at + piece.length), 0);
    return encoding ? new TextDecoder().decode(all) : all;
  }

  /** The file's bytes, a piece at a time. */
  async *readStream(path) {
    const file = await this.#call("open", name(path), 0, 0);
    yield* this.readOpen(file);
  }

  /** The same for a file that is open already; closes it. */
  async *readOpen(file) {
    try {
      for (let at = 0; ; ) {
        const piece = await this.#call("read", file, at, PIECE);
        if (piece.length === 0) return;
        at += piece.length;
        yield piece;
      }
    } finally {
      this.#send("close", file);
    }
  }

  async writeFile(path, data, options = {}) {
    const { flag = "w", mode = 0o644, uid, gid } = options;
    if (!(flag in WRITE_FLAGS)) throw new TypeError(`flag is one of ${Object.keys(WRITE_FLAGS).join(", ")}, not ${flag}`);
    const file = await this.#call("open", name(path), O_WRONLY | WRITE_FLAGS[flag], mode);
    try {
      if (uid !== undefined || gid !== undefined) await this.#call("chown", file, uid ?? 0, gid ?? uid ?? 0);
      for await (const piece of piecesOf(data)) await this.#call("write", file, piece);
    } finally {
      this.#send("close", file);
    }
  }

  async readdir(path, { withFileTypes = false } = {}) {
    const [names, types, inodes] = await this.#call("read_dir", name(path));
    const entries = names.map((raw, index) => ({ name: text(raw), rawName: raw, type: types[index], ino: inodes[index] }));
    entries.sort((a, b) => (a.name < b.name ? -1 : Number(a.name > b.name)));
    return withFileTypes ? entries : entries.map((entry) => entry.name);
  }

  stat(path) {
    return this.#call("stat", name(path), true);
  }

  lstat(path) {
    return this.#call("stat", name(path), false);
  }

  async mkdir(path, { recursive = false, mode = 0o755 } = {}) {
    await this.#call("mkdir", name(path), mode, recursive);
  }

  async rm(path, { recursive = false, force = false } = {}) {
    try {
      await this.#call("remove", name(path), recursive);
    } catch (error) {
      if (!force || error.errno !== "ENOENT") throw error;
    }
  }

  async rename(from, to) {
    await this.#call("rename", name(from), name(to));
  }

  async watch(path, listener) {
    const number = await this.#call("watch", name(path));
    this.#watches.set(number, listener);
    for (const event of this.#early.get(number) ?? []) this.#tell(listener, event);
    this.#early.delete(number);
    return {
      close: () => {
        if (this.#watches.delete(number)) this.#send("unwatch", number);
      },
    };
  }

  /** The machine tells of a change. */
  changed(watch, event) {
    const listener = this.#watches.get(watch);
    if (listener) return this.#tell(listener, event);
    // Numbers only grow, so one that was never answered is new; one that was closed is old.
    const known = Math.max(0, ...this.#watches.keys());
    if (watch > known) this.#early.set(watch, [...(this.#early.get(watch) ?? []), event]);
  }

  #tell(listener, { mask, cookie, name: raw }) {
    for (const [bit, type] of EVENTS) {
      if (!(mask & bit)) continue;
      const event = { type, name: raw.length ? text(raw) : null, directory: (mask & IS_DIRECTORY) !== 0 };
      if (cookie) event.cookie = cookie;
      listener(event);
    }
  }
}

/** Where a name goes that is taken in `names` already: `notes (1).txt`. */
export function freeName(wanted, names) {
  if (!names.has(wanted)) return wanted;
  const dot = wanted.lastIndexOf(".");
  const [stem, ending] = dot > 0 ? [wanted.slice(0, dot), wanted.slice(dot)] : [wanted, ""];
  for (let number = 1; ; number += 1) {
    const other = `${stem} (${number})${ending}`;
    if (!names.has(other)) return other;
  }
}

function name(path) {
  const bytes = typeof path === "string" || path instanceof Uint8Array ? encodeInput(path) : undefined;
  if (!bytes) throw new TypeError(`a path is a string or bytes, not ${typeof path}`);
  return bytes;
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}

async function* piecesOf(data) {
  if (typeof Blob !== "undefined" && data instanceof Blob) data = data.stream();
  const whole = typeof data === "string" || data instanceof Uint8Array || data instanceof ArrayBuffer;
  const source = whole ? [data] : typeof data?.getReader === "function" ? readerOf(data) : data;
  if (source?.[Symbol.asyncIterator] === undefined && source?.[Symbol.iterator] === undefined) {
    throw new TypeError("data is a string, bytes, a Blob, a stream or an iterable of strings and bytes");
  }
  for await (const part of source) {
    const bytes = encodeInput(part instanceof ArrayBuffer ? new Uint8Array(part) : part);
    for (let at = 0; at < bytes.length; at += PIECE) yield bytes.slice(at, at + PIECE);
  }
}

/** Not every browser iterates streams. */
async function* readerOf(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
