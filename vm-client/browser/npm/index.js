// The page's side of a machine: CheerpX's names and shapes, over messages to a worker (`protocol.d.ts`).

import { exportPages, exportUnsaved } from "./archive.js";
import { TextConsole } from "./console.js";
import { DataDevice, IDBDevice } from "./devices.js";
import { SkiffError, asSkiffError, bad } from "./error.js";
import { FileSystem, freeName } from "./fs.js";
import { mountsOf } from "./mounts.js";
import { startWorker } from "./port.js";
import { Process, encodeInput } from "./process.js";

export {
  CloudDevice,
  DataDevice,
  FileDevice,
  GitHubDevice,
  HttpBytesDevice,
  IDBDevice,
  OverlayDevice,
  WebDevice,
} from "./devices.js";
export { SkiffError } from "./error.js";

const DEFAULT_MEMORY = 512 * 1024 * 1024;
/** Opening fails when nothing has been heard from the server for this long. */
const DEFAULT_TIMEOUT_MS = 30_000;
/** A machine that has not answered for so long is told of. */
const DEFAULT_ANSWER_MS = 20_000;
/** A browser says no more of a worker that it could not load. */
const NO_WORKER = "the worker could not be started: its script is not served beside this module, or the page's Content-Security-Policy forbids it";

export class Linux {
  #port;
  #calls = new Map();
  #nextCall = 1;
  #nextProcess = 1;
  #processes = new Map();
  #callbacks = new Map();
  #consoles = new Map();
  #closed = null;
  #locale;
  #timeZone;
  #askedToPersist = false;
  #overlay;
  #pulse;
  #toldOfCanvas = false;
  #detach = [];

  static async create({
    mounts = [],
    memory = DEFAULT_MEMORY,
    timeout = DEFAULT_TIMEOUT_MS,
    answerWithin = DEFAULT_ANSWER_MS,
    worker,
    wasm,
    jit,
    x87 = "exact",
    countAccesses = false,
    hotCode = true,
    columns = 80,
    rows = 24,
    timeZone,
    locale,
    onNotice,
    onStats,
  } = {}) {
    // What is wrong with the arguments is told before anything is started.
    const plan = await mountsOf(mounts);
    if (jit !== undefined && jit !== "off" && !(Number.isInteger(jit) && jit >= 0)) {
      throw new SkiffError(bad(`jit is "off" or how often code is interpreted before it is compiled, not ${jit}`));
    }
    if (x87 !== "exact" && x87 !== "fast") throw new SkiffError(bad(`x87 is "exact" or "fast", not ${x87}`));
    const port = worker ?? startWorker();
    const linux = new Linux(port);
    linux.#locale = locale;
    if (onNotice) linux.registerCallback("notice", onNotice);
    if (onStats) linux.registerCallback("stats", onStats);
    let opened;
    const options = { mounts: plan.map((mount) => linux.#attach(mount, () => opened)), memory, columns, rows, jit, x87, countAccesses: Boolean(countAccesses), hotCode: Boolean(hotCode) };
    const late = { code: "unreachable", message: `the image did not open within ${Math.round(timeout / 1000)} s` };
    let timer;
    try {
      opened = linux.#call({ type: "open", options, module: wasm });
      const silence = new Promise((_, reject) => (timer = setTimeout(() => reject(new SkiffError(late)), timeout)));
      linux.disk = await Promise.race([opened, silence]);
    } catch (error) {
      linux.#end({ code: "closed", message: error.message });
      throw error;
    } finally {
      clearTimeout(timer);
    }
    linux.#watchPage();
    linux.#watchWorker(answerWithin);
    linux.#overlay = plan[0].disk?.overlay;
    if (timeZone !== undefined) linux.#timeZone = await linux.#zoneOf(timeZone);
    return linux;
  }

  constructor(port) {
    this.#port = port;
    /** The guest's files. */
    this.fs = new FileSystem(
      (request) => this.#call(request),
      (request) => this.#closed || port.postMessage(request),
    );
    port.onmessage = ({ data }) => this.#hear(data);
    port.onerror = (event) => {
      const failure = { code: "crashed", message: event?.message ?? NO_WORKER };
      // Before the disk is open, whoever waits for it is told.
      const ran = this.disk !== undefined && !this.#closed;
      this.#end(failure);
      if (ran) this.#emit("crash", failure);
    };
  }

  /** What the worker is told of a mount; devices that go on working with the page learn of this machine. */
  #attach({ path, dev, disk, url }, opened) {
    if (dev instanceof DataDevice) {
      const { files, detach } = dev.attach(async (name, data) => {
        await opened();
        if (!this.#closed) await this.#call({ type: "data", device: dev.number, path: name, data });
      });
      this.#detach.push(detach);
      return { path, device: dev.number, files };
    }
    if (dev instanceof IDBDevice) this.#detach.push(dev.attach(path, this.fs, () => opened().then(() => !this.#closed)));
    return disk ? { path, disk } : { path, url };
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
      env: this.#environment(options.env ?? ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm-256color"]),
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

  /**
   * Has `callback` told which virtual terminal comes to the front. Returns the function that brings one there. Programs do
   * not do so by themselves: there is no graphical terminal.
   */
  setActivateConsole(callback) {
    return (vt) => callback(vt);
  }

  /** There are no graphics: the canvas stays as it is, and a notice says so once. */
  setKmsCanvas(_canvas, _width, _height) {
    if (this.#toldOfCanvas) return;
    this.#toldOfCanvas = true;
    this.#emit("notice", { code: "unsupported", message: "this machine has no graphics: the canvas stays empty" });
  }

  /** There is no network outside the machine to log in to. */
  async networkLogin() {
    throw new SkiffError({ code: "unsupported", message: "this machine has no network outside itself" });
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

  /** Where the program is that has the foreground of a virtual terminal: working directory, user, group, process. */
  async workingDirectory(vt = 1) {
    const place = await this.#call({ type: "place", vt });
    return { ...place, path: new TextDecoder().decode(place.path) };
  }

  /**
   * Writes files of the page (`File`s of an input or a drop) to the working directory of a virtual terminal, as its user.
   * Nothing is overwritten: a name that is taken gets a number. Returns the paths.
   */
  async upload(files, vt = 1) {
    const { path, uid, gid } = await this.workingDirectory(vt);
    const directory = path.replace(/\/*$/, "/");
    const taken = new Set(await this.fs.readdir(path));
    const paths = [];
    for (const file of files) {
      const name = freeName(file.name.replaceAll("/", "_"), taken);
      taken.add(name);
      await this.fs.writeFile(directory + name, file, { flag: "wx", uid, gid });
      paths.push(directory + name);
    }
    return paths;
  }

  /** Adds the machine's time zone and locale to an environment that says nothing about them. */
  #environment(env) {
    const has = (name) => env.some((variable) => variable.startsWith(`${name}=`));
    const more = [];
    if (this.#timeZone && !has("TZ")) more.push(`TZ=${this.#timeZone}`);
    if (this.#locale && !has("LANG") && !has("LC_ALL")) more.push(`LANG=${this.#locale}`);
    return [...env, ...more];
  }

  /** A zone's name, or where the image does not know it, its present distance from UTC as tzset(3) has it. */
  async #zoneOf(wanted) {
    const zone = wanted === "host" ? Intl.DateTimeFormat().resolvedOptions().timeZone : wanted;
    let named;
    try {
      named = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" }).formatToParts(new Date());
    } catch {
      return zone;
    }
    const known = await this.fs.stat(`/usr/share/zoneinfo/${zone}`).then(() => true, () => false);
    if (known) return zone;
    const offset = named.find(({ type }) => type === "timeZoneName")?.value.slice(3) || "+00:00";
    // POSIX counts west of Greenwich.
    const [sign, opposite] = offset.startsWith("-") ? ["-", ""] : ["+", "-"];
    const [hours, minutes] = offset.slice(1).split(":");
    const shown = minutes === "00" ? hours : hours + minutes;
    return `<${sign}${shown}>${opposite}${Number(hours)}:${minutes}`;
  }

  /** Asks the browser, at the first change, not to clear the disk when room gets scarce. */
  async #persist() {
    if (this.#askedToPersist || !this.disk?.persistent || typeof document === "undefined") return;
    this.#askedToPersist = true;
    let state = "unavailable";
    try {
      const storage = navigator.storage;
      if (storage?.persist) state = (await storage.persisted()) || (await storage.persist()) ? "granted" : "denied";
    } catch {
      // Storage is blocked altogether, which has its own notice.
    }
    this.disk.persistence = state;
    this.#emit("persistence", state);
  }

  /** Shows the store of a private image another token, before or after the old one ended. `path` is where the image is mounted. */
  async setToken(token, path = "/") {
    await this.#call({ type: "token", path: path.replace(/\/+$/, "") || "/", token: String(token) });
  }

  /** Waits until everything written so far is safely stored. */
  async sync() {
    await this.#call({ type: "sync" });
  }

  /**
   * Every change to the disk as one file, as `IDBDevice.export` makes it; those included that could not be stored, or are
   * kept in memory only.
   */
  async exportDisk() {
    // What fails to be stored is carried along.
    await this.sync().catch(() => {});
    const [epoch, numbers, pages, deleted] = await this.#call({ type: "unsaved" });
    const unsaved = { epoch, numbers, pages, deleted };
    if (epoch === undefined) return exportUnsaved(this.disk.identity, unsaved);
    return asSkiffError(exportPages(this.#overlay, unsaved));
  }

  /** What programs asked for that does not exist here, and what each task waits for. */
  async diagnostics() {
    return this.#call({ type: "diagnostics" });
  }

  /** What the engine counted so far, by name. */
  async profile() {
    return this.#call({ type: "profile" });
  }

  /** Begins to measure where guest time goes, from nothing. */
  async startProfile() {
    await this.#call({ type: "startProfile" });
  }

  /** Where guest time went since `startProfile`. */
  async timeProfile() {
    return this.#call({ type: "timeProfile" });
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
      case "file":
        this.fs.changed(report.watch, report.event);
        break;
      case "handout":
        this.#handOut(report);
        break;
      case "stats":
        this.stats = report.stats;
        this.#emit("stats", report.stats);
        if (report.stats.overlayBytes > 0) void this.#persist();
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

  /** A guest program gives a file to the page. */
  #handOut({ file, path, size }) {
    const name = new TextDecoder().decode(path).replace(/^.*\//, "");
    const stream = this.fs.readOpen(file);
    const blob = async () => {
      const pieces = [];
      for await (const piece of stream) pieces.push(piece);
      return new Blob(pieces, { type: "application/octet-stream" });
    };
    if (this.#callbacks.get("download")?.size) return this.#emit("download", { name, size, stream, blob });
    // Nobody else wants it: a page gives it to the person, as any link would.
    if (typeof document === "undefined") return void stream.next().then(() => stream.return());
    void blob().then(
      (data) => saveAs(data, name),
      (error) => this.#emit("notice", { code: "download-failed", message: `${name} could not be read: ${error.message}` }),
    );
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

  /** Tells when the worker does not answer any more, and when it does again. */
  #watchWorker(limit) {
    if (typeof document === "undefined") return;
    // Counted in beats of this thread: one that stood still itself, with its page or its computer, blames nobody.
    const beats = 4;
    let missed = 0;
    let waiting = false;
    const answered = () => {
      if (missed >= beats) this.#emit("notice", { code: "answers", message: "The machine answers again." });
      waiting = false;
      missed = 0;
    };
    this.#pulse = setInterval(() => {
      if (!waiting) {
        waiting = true;
        return void this.#call({ type: "ping" }).then(answered, () => {});
      }
      missed += 1;
      if (missed !== beats) return;
      const message = `The machine has not answered for ${Math.round(limit / 1000)} s. What was stored is safe; wait, or restart it.`;
      this.#emit("notice", { code: "no-answer", message });
    }, limit / beats);
  }

  #end(failure) {
    if (this.#closed) return;
    this.#closed = failure;
    clearInterval(this.#pulse);
    this.#detach.forEach((detach) => detach());
    this.#port.terminate?.();
    const error = new SkiffError(failure);
    for (const { reject } of this.#calls.values()) reject(error);
    for (const process of this.#processes.values()) process.fail(error);
    this.#calls.clear();
    this.#processes.clear();
  }
}

function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
