// Disks and directories that a machine is given.

import { exportPages, importPages } from "./archive.js";
import { SkiffError, asSkiffError, bad } from "./error.js";
import { IndexedDbPages } from "./overlay.js";
import { encodeInput } from "./process.js";

/** Memory of a machine that only reads a file. */
const READER_MEMORY = 32 * 1024 * 1024;

/** What can be mounted. */
export class Device {
  delete() {}
}

/** What holds an ext2 file system. */
export class BlockDevice extends Device {}

/** A disk of a server: `STORE_URL/name[@tag|@b3:HASH]`. With a `publicKey`, only a tag that it signed is believed; with a `token`, private. */
export class CloudDevice extends BlockDevice {
  /** Not enumerable: a token is a secret, and devices get printed. */
  #token;

  static async create(url, { publicKey, token } = {}) {
    return new CloudDevice(absoluteImage(url), publicKey, token);
  }

  constructor(image, publicKey, token) {
    super();
    this.kind = "cloud";
    this.image = image;
    this.publicKey = publicKey;
    this.#token = token;
  }

  static tokenOf(device) {
    return #token in device ? device.#token : undefined;
  }
}

/** An ext2 file on any web server that serves byte ranges. */
export class HttpBytesDevice extends BlockDevice {
  static async create(url) {
    return new HttpBytesDevice(absoluteUrl(url, "HttpBytesDevice"));
  }

  constructor(image) {
    super();
    this.kind = "bytes";
    this.image = image;
  }
}

/** An ext2 file cut into `URL.meta` and `URL.cNNNNNN.txt` of 128 KiB, for static hosts such as GitHub Pages. */
export class GitHubDevice extends BlockDevice {
  static async create(url) {
    return new GitHubDevice(absoluteUrl(url, "GitHubDevice"));
  }

  constructor(image) {
    super();
    this.kind = "github";
    this.image = image;
  }
}

/** A tree of plain files on a web server, with an `index.list` of names in each directory; for a mount of type `dir`. */
export class WebDevice extends Device {
  static async create(url) {
    return new WebDevice(absoluteUrl(url || "./", "WebDevice"));
  }

  constructor(url) {
    super();
    this.url = url;
  }
}

/** Files that the page hands in; for a mount of type `dir`. */
export class DataDevice extends Device {
  static #next = 1;
  #files = new Map();
  #machines = new Set();

  static async create() {
    return new DataDevice(DataDevice.#next++);
  }

  constructor(number) {
    super();
    this.number = number;
  }

  /** Puts a file at a path such as `/name`, in place of one that is there. Directories on the way come by themselves. */
  async writeFile(path, contents) {
    if (typeof path !== "string" || !path.startsWith("/") || path.endsWith("/")) {
      throw new SkiffError(bad(`DataDevice.writeFile wants a path such as "/name", not ${JSON.stringify(path)}`));
    }
    const data = encodeInput(contents);
    this.#files.set(path, data);
    await Promise.all([...this.#machines].map((write) => write(path, data)));
  }

  /** The content of a file that was put here, or nothing. */
  content(path) {
    return this.#files.get(path);
  }

  /** For `Linux`: the files so far, and a function that is told of every later one. */
  attach(write) {
    this.#machines.add(write);
    return { files: Array.from(this.#files, ([path, data]) => ({ path, data })), detach: () => this.#machines.delete(write) };
  }

  delete() {
    this.#files.clear();
  }
}

/**
 * An ext2 file in another device: on a web server, among the files that the page hands in, or in this browser's storage. The
 * latter two are read into memory when a machine starts.
 */
export class FileDevice extends BlockDevice {
  static async create(parent, fileName) {
    if (![WebDevice, DataDevice, IDBDevice].some((kind) => parent instanceof kind)) {
      throw new SkiffError(bad("FileDevice.create wants a WebDevice, DataDevice or IDBDevice that has the file"));
    }
    if (typeof fileName !== "string" || !fileName) throw new SkiffError(bad("FileDevice.create wants the name of a file"));
    const name = `/${fileName.replace(/^\/+/, "")}`;
    if (parent instanceof WebDevice) return new HttpBytesDevice(`${parent.url.replace(/\/*$/, "")}${name}`);
    return new FileDevice(parent, name);
  }

  constructor(parent, fileName) {
    super();
    Object.assign(this, { parent, fileName });
  }

  /** The file's bytes. */
  async content() {
    const { parent, fileName } = this;
    const found = parent instanceof DataDevice ? parent.content(fileName) : await parent.readFileAsBlob(fileName);
    if (!found) throw new SkiffError({ code: "image-not-found", message: `there is no file ${fileName} in the device` });
    return found instanceof Uint8Array ? found : new Uint8Array(await found.arrayBuffer());
  }
}

/** Room in this browser: for a disk's changes, or for files where it is mounted as a `dir`. */
export class IDBDevice extends Device {
  /** Machines that have a device of a name mounted as a directory. */
  static #users = new Map();

  static async create(name) {
    if (typeof name !== "string" || name === "") throw new SkiffError(bad("IDBDevice.create wants a name"));
    return new IDBDevice(name);
  }

  constructor(name) {
    super();
    this.name = name;
  }

  /**
   * A file of a device that is mounted as a `dir`, by its path in the device; null when it is not there. Without a machine that
   * has it mounted, one is started for as long as it takes.
   */
  async readFileAsBlob(path) {
    if (typeof path !== "string" || !path) throw new SkiffError(bad("readFileAsBlob wants the path of a file"));
    const file = `/${path.replace(/^\/+/, "")}`;
    for (const { point, files, ready } of IDBDevice.#users.get(this.name) ?? []) {
      if (await ready().catch(() => false)) return readBlob(files, `${point === "/" ? "" : point}${file}`);
    }
    if ((await this.manifest()) === null) return null;
    const { Linux } = await import("./index.js");
    const machine = await Linux.create({ mounts: [{ type: "dir", path: "/", dev: this }], memory: READER_MEMORY });
    try {
      return await readBlob(machine.fs, file);
    } finally {
      await machine.delete();
    }
  }

  /** For `Linux`: it has this device mounted at `point` until the function returned is called. */
  attach(point, files, ready) {
    const user = { point, files, ready };
    if (!IDBDevice.#users.has(this.name)) IDBDevice.#users.set(this.name, new Set());
    IDBDevice.#users.get(this.name).add(user);
    return () => IDBDevice.#users.get(this.name)?.delete(user);
  }

  /** The manifest that the saved changes belong to, in hex; null when there are none. */
  async manifest() {
    return IndexedDbPages.manifestOf(this.name);
  }

  /** The names of all disks that this origin keeps changes of. */
  static async list() {
    return IndexedDbPages.names();
  }

  /** Forgets every change. The machine that uses them must be deleted first. */
  async reset() {
    await asSkiffError(IndexedDbPages.remove(this.name));
  }

  /** Every stored change as one file. A machine that runs should `sync()` before. */
  async export() {
    return asSkiffError(exportPages(this.name));
  }

  /** Puts an exported file in the place of the changes there are. The machine that uses them must be deleted first. */
  async import(file) {
    return asSkiffError(importPages(this.name, file));
  }
}

/** A base that is only read, and the changes to it. The base may be an overlay itself, which then stays as it is. */
export class OverlayDevice extends BlockDevice {
  static async create(base, idb, { whenBusy = "copy" } = {}) {
    if (!(base instanceof BlockDevice)) {
      throw new SkiffError(bad("OverlayDevice.create wants a CloudDevice, HttpBytesDevice, GitHubDevice, FileDevice or OverlayDevice as its base"));
    }
    if (!(idb instanceof IDBDevice)) throw new SkiffError(bad("OverlayDevice.create wants an IDBDevice for the changes"));
    return new OverlayDevice(base, idb, whenBusy);
  }

  constructor(base, idb, whenBusy) {
    super();
    Object.assign(this, { base, idb, whenBusy });
  }
}

async function readBlob(files, path) {
  try {
    return new Blob([await files.readFile(path)]);
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "EISDIR"].includes(error.errno)) return null;
    throw error;
  }
}

function absoluteUrl(text, what) {
  if (typeof text !== "string" || !text) throw new SkiffError(bad(`${what}.create wants a URL`));
  try {
    return new URL(text, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw new SkiffError(bad(`${JSON.stringify(text)} is no URL`));
  }
}

/** Makes the store's address absolute, relative to the page. */
function absoluteImage(text) {
  if (typeof text !== "string" || !text) throw new SkiffError(bad("CloudDevice.create wants STORE_URL/name[@tag|@b3:HASH]"));
  const cut = text.lastIndexOf("/");
  const [store, name] = [text.slice(0, cut + 1), text.slice(cut + 1)];
  const base = globalThis.document?.baseURI ?? globalThis.location?.href;
  // Outside a browser a store may be a directory.
  if (base === undefined && text.startsWith("/")) return text;
  let url;
  try {
    url = new URL(store || "./", base);
  } catch {
    throw new SkiffError(bad(`${JSON.stringify(text)} is no address of an image`));
  }
  return url.href.replace(/\/*$/, "/") + name;
}
