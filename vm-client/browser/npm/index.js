// The page's side of a machine: CheerpX's names and shapes, over messages to a worker (`protocol.d.ts`).

import { TextConsole } from "./console.js";
import { IndexedDbPages } from "./overlay.js";
import { Process, encodeInput } from "./process.js";

const DEFAULT_MEMORY = 512 * 1024 * 1024;
/** Opening fails when nothing has been heard from the server for this long. */
const DEFAULT_TIMEOUT_MS = 30_000;

export class SkiffError extends Error {
  constructor(failure) {
    super(failure.message);
    this.name = "SkiffError";
    Object.assign(this, failure);
  }
}

/** A disk of a server: `STORE_URL/name[@tag|@b3:HASH]`. */
export class CloudDevice {
  static async create(url) {
    return new CloudDevice(absoluteImage(url));
  }

  constructor(image) {
    this.image = image;
  }

  delete() {}
}

/** Room for a disk's changes in this browser. */
export class IDBDevice {
  static async create(name) {
    if (typeof name !== "string" || name === "") throw new SkiffError(bad("IDBDevice.create wants a name"));
    return new IDBDevice(name);
  }

  constructor(name) {
    this.name = name;
  }

  /** The manifest that the saved changes belong to, in hex; null when there are none. */
  async manifest() {
    return IndexedDbPages.manifestOf(this.name);
  }

  /** Forgets every change. The machine that uses them must be deleted first. */
  async reset() {
    await IndexedDbPages.remove(this.name);
  }

  delete() {}
}

/** A base that is only read, and the changes to it. */
export class OverlayDevice {
  static async create(base, idb, { whenBusy = "copy" } = {}) {
    if (!(base instanceof CloudDevice)) throw new SkiffError(bad("OverlayDevice.create wants a CloudDevice as its base"));
    if (!(idb instanceof IDBDevice)) throw new SkiffError(bad("OverlayDevice.create wants an IDBDevice for the changes"));
    return new OverlayDevice(base, idb, whenBusy);
  }

  constructor(base, idb, whenBusy) {
    Object.assign(this, { base, idb, whenBusy });
  }

  delete() {}
}

export class Linux {
  #port;
  #calls = new Map();
  #nextCall = 1;
  #nextProcess = 1;
  #processes = new Map();
  #callbacks = new Map();
  #consoles = new Map();
  #closed = null;

  static async create({
    mounts = [],
    memory = DEFAULT_MEMORY,
    timeout = DEFAULT_TIMEOUT_MS,
    worker,
    wasm,
    jit,
    columns = 80,
    rows = 24,
    onNotice,
    onStats,
  } = {}) {
    const disk = rootOf(mounts);
    const port = worker ?? startWorker();
    const linux = new Linux(port);
    if (onNotice) linux.registerCallback("notice", onNotice);
    if (onStats) linux.registerCallback("stats", onStats);
    if (jit !== undefined && jit !== "off" && !(Number.isInteger(jit) && jit >= 0)) {
      throw new SkiffError({ code: "bad-argument", message: `jit is "off" or how often code is interpreted before it is compiled, not ${jit}` });
    }
    const options = { ...disk, memory, columns, rows, jit };
    const late = { code: "unreachable", message: `the image did not open within ${Math.round(timeout / 1000)} s` };
    let timer;
    try {
      const opened = linux.#call({ type: "open", options, module: wasm });
      const silence = new Promise((_, reject) => (timer = setTimeout(() => reject(new SkiffError(late)), timeout)));
      linux.disk = await Promise.race([opened, silence]);
    } catch (error) {
      linux.#end({ code: "closed", message: error.message });
      throw error;
    } finally {
      clearTimeout(timer);
    }
    linux.#watchPage();
    return linux;
  }

  constructor(port) {
    this.#port = port;
    port.onmessage = ({ data }) => this.#hear(data);
    port.onerror = (event) => {
      const message = event?.message ?? "the worker could not be started";
      this.#end({ code: "crashed", message });
    };
  }

  /** Starts a program and waits for its end. */
  async run(file, args = [], options = {}) {
    const process = await this.spawn(file, args, options);
    return process.ended;
  }

  /** Starts a program. */
  async spawn(file, args = [], options = {}) {
    if (this.#closed) throw new SkiffError(this.#closed);
    const number = this.#nextProcess++;
    const process = new Process(number, options, (request) => this.#port.postMessage(request));
    this.#processes.set(number, process);
    const program = {
      file,
      args,
      env: options.env ?? ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm-256color"],
      cwd: options.cwd ?? "/",
      uid: options.uid ?? 0,
      gid: options.gid ?? 0,
      stdio: process.streams ? "streams" : { vt: options.vt ?? 1 },
    };
    try {
      process.pid = await this.#call({ type: "spawn", process: number, program });
    } catch (error) {
      this.#processes.delete(number);
      process.fail(error);
      throw error;
    }
    process.begin();
    return process;
  }

  /** Shows the first virtual terminal as plain text in an element. For a real terminal use `setCustomConsole`. */
  setConsole(element) {
    const text = new TextConsole(element);
    const input = this.setCustomConsole((data) => text.write(data), text.columns, text.rows);
    text.onInput = (data) => this.input(data);
    return input;
  }

  /**
   * Gives a virtual terminal its screen. `write(bytes, vt)` may return a promise of having shown them. Returns the
   * function that takes key codes (UTF-16 units, as xterm's `onData` has them) or whole strings.
   */
  setCustomConsole(write, columns, rows, vt = 1) {
    const early = this.#consoles.get(vt)?.early ?? [];
    this.#consoles.set(vt, { write });
    this.resizeConsole(columns, rows, vt);
    for (const data of early) this.#show(vt, data);
    let half = "";
    return (key) => {
      const text = half + (typeof key === "number" ? String.fromCharCode(key) : key);
      // A character beyond the first plane comes as two codes.
      half = /[\ud800-\udbff]$/.test(text) ? text.slice(-1) : "";
      this.input(half ? text.slice(0, -1) : text, vt);
    };
  }

  /** Types text, or sends raw bytes, at a virtual terminal. */
  input(data, vt = 1) {
    const bytes = encodeInput(data);
    if (bytes.length && !this.#closed) this.#port.postMessage({ type: "input", vt, data: bytes });
  }

  /** Tells the size of a virtual terminal; its programs get SIGWINCH. */
  resizeConsole(columns, rows, vt = 1) {
    if (!this.#closed) this.#port.postMessage({ type: "resize", vt, columns, rows });
  }

  registerCallback(event, callback) {
    if (!this.#callbacks.has(event)) this.#callbacks.set(event, new Set());
    this.#callbacks.get(event).add(callback);
  }

  unregisterCallback(event, callback) {
    this.#callbacks.get(event)?.delete(callback);
  }

  /** Waits until everything written so far is safely stored. */
  async sync() {
    await this.#call({ type: "sync" });
  }

  /** What the engine counted so far, by name. */
  async profile() {
    return this.#call({ type: "profile" });
  }

  /** Stores what is written and ends the machine. */
  async delete() {
    if (this.#closed) return;
    // A worker that does not answer is ended all the same.
    const patience = new Promise((resolve) => setTimeout(resolve, 3000));
    await Promise.race([this.#call({ type: "close" }).catch(() => {}), patience]);
    this.#end({ code: "closed", message: "the machine was deleted" });
  }

  #call(request) {
    if (this.#closed) return Promise.reject(new SkiffError(this.#closed));
    const id = this.#nextCall++;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#port.postMessage({ ...request, id });
    });
  }

  #hear(report) {
    switch (report.type) {
      case "reply":
      case "failure": {
        const call = this.#calls.get(report.id);
        this.#calls.delete(report.id);
        if (report.type === "reply") call?.resolve(report.value);
        else call?.reject(new SkiffError(report.error));
        break;
      }
      case "output":
        this.#show(report.vt, report.data);
        break;
      case "stdout":
      case "stderr":
        this.#processes.get(report.process)?.output(report.type, report.data);
        break;
      case "exit":
        this.#processes.get(report.process)?.end(report);
        this.#processes.delete(report.process);
        break;
      case "event":
        this.#emit(report.event, report.value);
        break;
      case "stats":
        this.stats = report.stats;
        this.#emit("stats", report.stats);
        break;
      case "notice":
        this.#emit("notice", report.notice);
        break;
      case "crash":
        this.#end(report.error);
        this.#emit("crash", report.error);
        break;
    }
  }

  #show(vt, data) {
    const screen = this.#consoles.get(vt);
    if (!screen) return void this.#consoles.set(vt, { early: [data] });
    if (!screen.write) return void screen.early.push(data);
    const shown = () => this.#closed || this.#port.postMessage({ type: "shown", stream: { vt }, bytes: data.length });
    // A screen that throws must not stop the guest for ever.
    Promise.resolve(screen.write(data, vt)).then(shown, shown);
  }

  #emit(event, value) {
    for (const callback of this.#callbacks.get(event) ?? []) callback(value);
  }

  #watchPage() {
    if (typeof document === "undefined") return;
    const tell = () => {
      if (!this.#closed) this.#port.postMessage({ type: "hidden", hidden: document.visibilityState === "hidden" });
    };
    document.addEventListener("visibilitychange", tell);
    globalThis.addEventListener("online", () => this.#closed || this.#port.postMessage({ type: "online" }));
    globalThis.addEventListener("pagehide", () => {
      if (!this.#closed) this.#port.postMessage({ type: "hidden", hidden: true });
    });
  }

  #end(failure) {
    if (this.#closed) return;
    this.#closed = failure;
    this.#port.terminate?.();
    const error = new SkiffError(failure);
    for (const { reject } of this.#calls.values()) reject(error);
    for (const process of this.#processes.values()) process.fail(error);
    this.#calls.clear();
    this.#processes.clear();
  }
}

function startWorker() {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "skiff" });
}

function rootOf(mounts) {
  const root = mounts[0];
  if (!root || root.path !== "/" || root.type !== "ext2") {
    throw new SkiffError(bad('the first mount must be { type: "ext2", path: "/", dev }'));
  }
  for (const { type, path } of mounts.slice(1)) {
    // The kernel mounts these itself; naming them as CheerpX's users do is fine.
    if (!["devs", "devpts", "proc", "sys"].includes(type)) {
      throw new SkiffError({ code: "unsupported", message: `cannot mount ${path}: type ${JSON.stringify(type)} is not supported` });
    }
  }
  const { dev } = root;
  if (dev instanceof OverlayDevice) return { image: dev.base.image, overlay: dev.idb.name, whenBusy: dev.whenBusy };
  if (dev instanceof CloudDevice) return { image: dev.image, whenBusy: "copy" };
  throw new SkiffError(bad("the root's dev must be an OverlayDevice or a CloudDevice"));
}

/** Makes the store's address absolute, relative to the page. */
function absoluteImage(text) {
  if (typeof text !== "string" || !text) throw new SkiffError(bad("CloudDevice.create wants STORE_URL/name[@tag|@b3:HASH]"));
  const cut = text.lastIndexOf("/");
  const [store, name] = [text.slice(0, cut + 1), text.slice(cut + 1)];
  const base = globalThis.document?.baseURI;
  let url;
  try {
    url = new URL(store || "./", base);
  } catch {
    throw new SkiffError(bad(`${JSON.stringify(text)} is no address of an image`));
  }
  return url.href.replace(/\/*$/, "/") + name;
}

function bad(message) {
  return { code: "bad-argument", message };
}
