// The side of the worker: one machine, driven by messages (`protocol.d.ts`). Runs in a Web Worker (`worker.js`) and, with
// other surroundings, in Node (`node.js`).

import { HotCode } from "./hotcode.js";
import { Meter, SocketWire, startGet } from "./network.js";
import init, { Vm } from "./wasm/skiff.js";

/** The longest that one turn may take, so that keys, sockets and storage get theirs. */
const TURN_MS = 8;
/** `setTimeout` waits at least this long once it is nested. */
const TIMER_FLOOR_MS = 5;
const STATS_MS = 200;
const HOT_CODE_MS = 5000;
const FS_CALLS = new Set(["open", "read", "write", "chown", "close", "stat", "read_dir", "mkdir", "remove", "rename", "watch", "unwatch"]);
const STATS = ["diskWaiting", "diskLatency", "chunks", "overlayBytes", "memory", "tasks", "created", "retired", "offline", "damaged", "losses"];

/**
 * @param {{ post(report: import("./protocol.js").Report, transfer?: ArrayBuffer[]): void }} port
 * @param surroundings `module` (wasm bytes, module or response), `openPages(name, manifest)`, `takeLock(name)`, `readUrl`?,
 *   `hotLists`? (`hotcode.js`), `soon(callback)`: runs the callback after the events that wait
 * @returns the function that takes a request
 */
export function serve(port, surroundings) {
  const machine = new Machine(port, surroundings);
  return (request) => machine.handle(request);
}

class Machine {
  #port;
  #around;
  #vm = null;
  #meter = new Meter();
  #due = false;
  #timer = null;
  #dead = false;
  #backlog = new Map();
  #busyMs = 0;
  #stats = null;
  #hotCode = null;
  #hotCodeTimer = null;
  #statsSince = performance.now();
  #shown = {};
  #releases = [];
  #calls = new Map();
  /** Where each mount is. */
  #points = [];

  constructor(port, around) {
    this.#port = port;
    this.#around = around;
  }

  async handle(request) {
    try {
      if (!this.#vm && request.type !== "open") throw fail("closed", "there is no machine");
      const value = await this[`on_${request.type}`](request);
      if (request.id !== undefined) this.#port.post({ type: "reply", id: request.id, value });
    } catch (error) {
      if (request.id !== undefined) this.#port.post({ type: "failure", id: request.id, error: failure(error) });
      if (error instanceof WebAssembly.RuntimeError) this.#crash(error);
    }
  }

  // Requests.

  async on_open({ options }) {
    if (this.#vm || this.#dead) throw fail("bad-argument", "this worker already had a machine");
    try {
      await init({ module_or_path: this.#around.module });
    } catch (error) {
      throw fail("unreachable", `the machine could not be loaded: ${error.message}`);
    }
    this.#vm = new Vm(this.#host(), options.memory, options.jit === "off" ? -1 : options.jit, options.x87 === "fast", Boolean(options.countAccesses));
    this.#vm.resize(1, options.columns, options.rows);
    this.#stats = setInterval(() => this.#report(), STATS_MS);
    this.kick();
    // The root is the first, and what the answer is about.
    this.#points = options.mounts.map(({ path }) => path);
    const hotCode = options.hotCode ? HotCode.find(this.#around.hotLists, options.mounts[0]?.disk) : null;
    const mounted = [];
    for (const [number, mount] of options.mounts.entries()) mounted.push(await this.#mount(number, mount));
    if (hotCode) {
      const tell = (words) => this.#notice("hot-code", words);
      this.#hotCode = await HotCode.open(this.#vm, hotCode, mounted[0].identity, tell);
      this.#hotCodeTimer = setInterval(() => this.#hotCode?.save(), HOT_CODE_MS);
    }
    return mounted[0];
  }

  on_token({ path, token }) {
    const number = this.#points.indexOf(path);
    if (number < 0) throw fail("bad-argument", `nothing is mounted at ${JSON.stringify(path)}`);
    return this.#call((call) => this.#vm.set_token(call, number, token));
  }

  async #mount(number, { path, disk, url, device, files }) {
    if (disk) return this.#mountDisk(number, path, disk);
    if (url !== undefined) await this.#call((call) => this.#vm.mount_web(call, path, url));
    else {
      await this.#call((call) => this.#vm.mount_data(call, path, device));
      for (const file of files) await this.on_data({ device, ...file });
    }
    return { manifest: null, persistent: false };
  }

  async #mountDisk(number, path, { kind, image, publicKey, token, content, layers, overlay, whenBusy }) {
    const held = kind === "blank" || kind === "held";
    const manifest = await this.#call((call) =>
      held ? this.#vm.hold_image(call, number, content) : this.#vm.find_image(call, number, kind, image, publicKey, token),
    );
    let identity = manifest;
    for (const name of layers) {
      const pages = await this.#openLayer(name, identity);
      if (pages) identity = await this.#call((call) => this.#vm.add_layer(call, number, pages));
    }
    const pages = overlay === undefined ? undefined : await this.#openPages(path, { overlay, whenBusy, layers }, identity);
    await this.#call((call) => this.#vm.mount(call, number, path, pages));
    return { manifest, identity, persistent: pages !== undefined };
  }

  on_data({ device, path, data }) {
    return this.#call((call) => this.#vm.write_data(call, device, path, data));
  }

  on_spawn({ process, program }) {
    const { file, args, env, cwd, uid, gid, stdio } = program;
    const vt = stdio === "streams" ? undefined : stdio.vt;
    return this.#call((call) => this.#vm.spawn(call, process, file, args, env, cwd, uid, gid, vt));
  }

  on_stdin({ process, data }) {
    this.#vm.stdin(process, data ?? undefined);
    this.kick();
  }

  on_shown({ stream, bytes }) {
    const key = streamKey(stream);
    const left = Math.max(0, (this.#backlog.get(key) ?? 0) - bytes);
    this.#backlog.set(key, left);
    if (stream.vt !== undefined) this.#vm.console_drained(stream.vt);
    else this.#vm.stream_drained(stream.process);
    this.kick();
  }

  on_kill({ process, signal }) {
    this.#vm.kill(process, signal);
    this.kick();
  }

  on_input({ vt, data }) {
    this.#vm.console_input(vt, data);
    this.kick();
  }

  on_resize({ vt, columns, rows }) {
    this.#vm.resize(vt, columns, rows);
    this.kick();
  }

  on_hidden({ hidden }) {
    // A hidden page may be gone a moment later.
    if (hidden && this.#vm && !this.#dead) {
      this.#vm.sync_soon();
      void this.#hotCode?.save();
    }
    this.kick();
  }

  on_online() {
    this.#vm.online();
    this.kick();
  }

  on_diagnostics() {
    return this.#vm?.diagnostics() ?? { missing: [], tasks: [], text: "" };
  }

  on_profile() {
    return this.#vm?.profile() ?? {};
  }

  on_startProfile() {
    this.#vm.profile_start();
  }

  on_timeProfile() {
    return this.#call((call) => this.#vm.profile_report(call));
  }

  /** Calls of `Vm.fs_*`: those that are answered later, and those that are not. */
  on_fs({ op, args }) {
    if (!FS_CALLS.has(op)) throw fail("bad-argument", `there is no file call ${op}`);
    if (op === "close" || op === "unwatch") return void this.#vm[`fs_${op}`](...args);
    return this.#call((call) => this.#vm[`fs_${op}`](call, ...args));
  }

  on_place({ vt }) {
    return this.#call((call) => this.#vm.place(call, vt));
  }

  on_sync() {
    return this.#call((call) => this.#vm.sync(call));
  }

  on_unsaved() {
    return this.#call((call) => this.#vm.unsaved(call));
  }

  /** Tells that this thread is alive. */
  on_ping() {}

  async on_close() {
    if (this.#vm && !this.#dead) {
      await this.#call((call) => this.#vm.sync(call)).catch(() => {});
      if (!this.#dead) await this.#hotCode?.save();
    }
    this.#stop();
  }

  // The event loop.

  kick() {
    if (this.#due || this.#dead) return;
    this.#due = true;
    clearTimeout(this.#timer);
    this.#around.soon(() => this.#turn());
  }

  #turn() {
    this.#due = false;
    if (this.#dead || !this.#vm) return;
    const start = performance.now();
    let wait;
    try {
      wait = this.#vm.turn(TURN_MS);
    } catch (error) {
      return this.#crash(error);
    }
    this.#busyMs += performance.now() - start;
    if (wait < TIMER_FLOOR_MS) this.kick();
    else if (wait < Infinity) this.#timer = setTimeout(() => this.kick(), Math.min(wait, 2 ** 30));
  }

  #stop(crashed = false) {
    this.#dead = true;
    clearTimeout(this.#timer);
    clearInterval(this.#stats);
    clearInterval(this.#hotCodeTimer);
    this.#hotCode = null;
    this.#releases.splice(0).forEach((release) => release());
    for (const { reject } of this.#calls.values()) reject(fail("closed", "the machine was closed"));
    this.#calls.clear();
    // What ended in a trap is not touched again. Otherwise other machines may live on in this thread.
    if (!crashed) this.#vm?.free();
    this.#vm = null;
  }

  #crash(error) {
    if (this.#dead) return;
    this.#port.post({ type: "crash", error: { ...failure(error), code: "crashed" } });
    this.#stop(true);
  }

  /** Starts something that the machine finishes in a later turn, by `Host.finished`. */
  #call(start) {
    return new Promise((resolve, reject) => {
      const call = this.#calls.size ? Math.max(...this.#calls.keys()) + 1 : 1;
      this.#calls.set(call, { resolve, reject });
      try {
        start(call);
      } catch (error) {
        this.#calls.delete(call);
        reject(error);
      }
      this.kick();
    });
  }

  // Saved changes.

  /** The changes of a disk, or nothing where they cannot be kept: then a notice says so. */
  async #openPages(path, { overlay, whenBusy, layers }, manifest) {
    const about = path === "/" ? "" : `${path}: `;
    const release = await this.#around.takeLock(overlay);
    if (!release) {
      const text = "Another tab is using this disk. This tab runs on a copy: what you change here is lost when it closes.";
      if (whenBusy === "fail") throw fail("overlay-busy", about + text);
      this.#notice("overlay-busy", about + text);
      return undefined;
    }
    this.#releases.push(release);
    try {
      return await this.#around.openPages(overlay, manifest);
    } catch (error) {
      if (error.name === "OverlayBroken") throw fail("overlay-lost", about + error.message);
      // A version of the image can only be asked for where nothing lies between it and the changes.
      const more = layers.length ? {} : { manifest: error.manifest };
      if (error.name === "OverlayMismatch") throw fail("overlay-mismatch", about + error.message, more);
      const text = `This browser does not let the page store data (${error.message}). Changes are lost when the tab closes.`;
      this.#notice("storage-blocked", about + text);
      return undefined;
    }
  }

  /** The changes of a disk below another, which must stay as they are as long as this machine runs. */
  async #openLayer(name, manifest) {
    const release = await this.#around.takeLock(name, { shared: true });
    if (!release) throw fail("overlay-busy", `another tab is changing the disk ${JSON.stringify(name)}, on which this one lies`);
    this.#releases.push(release);
    try {
      return await this.#around.openLayer(name, manifest);
    } catch (error) {
      const codes = { OverlayBroken: "overlay-lost", OverlayMismatch: "overlay-mismatch" };
      throw fail(codes[error.name] ?? "storage-blocked", `the disk ${JSON.stringify(name)} cannot be used: ${error.message}`);
    }
  }

  #notice(code, message) {
    this.#port.post({ type: "notice", notice: { code, message } });
  }

  // What the machine asks for (`host.d.ts`).

  #host() {
    const around = this.#around;
    const meter = this.#meter;
    return {
      now: () => performance.now(),
      wallClock: () => Date.now(),
      // The buffer lies in the wasm memory, which getRandomValues takes as long as it is not shared.
      random: (buffer) => void globalThis.crypto.getRandomValues(buffer),
      kick: () => this.kick(),
      consoleWrite: (vt, bytes) => this.#send({ type: "output", vt }, { vt }, bytes),
      consoleBacklog: (vt) => this.#backlog.get(streamKey({ vt })) ?? 0,
      streamWrite: (process, fd, bytes) =>
        this.#send({ type: fd === 1 ? "stdout" : "stderr", process }, { process, fd }, bytes),
      streamBacklog: (process, fd) => this.#backlog.get(streamKey({ process, fd })) ?? 0,
      fetch: (url, reload, limit, range) => startGet(meter, url, reload, limit, range, around.readUrl),
      connect: (url, protocol) => new SocketWire(meter, url, protocol),
      hasSockets: () => typeof WebSocket !== "undefined",
      finished: (call, value) => this.#finish(call, ({ resolve }) => resolve(value)),
      failed: (call, code, message, errno) =>
        this.#finish(call, ({ reject }) => reject(fail(code, message, errno ? { errno } : {}))),
      exited: (process, status, signal) => this.#port.post({ type: "exit", process, status, signal }),
      event: (event, value) => this.#port.post({ type: "event", event, value }),
      fileChanged: (watch, mask, cookie, name) =>
        this.#port.post({ type: "file", watch, event: { mask, cookie, name: name.slice() } }),
      handout: (file, path, size) => this.#port.post({ type: "handout", file, path: path.slice(), size }),
      notice: (code, message) => this.#notice(code, message),
    };
  }

  #finish(call, settle) {
    const waiting = this.#calls.get(call);
    this.#calls.delete(call);
    if (waiting) settle(waiting);
  }

  #send(report, stream, bytes) {
    const data = bytes.slice();
    const key = streamKey(stream);
    this.#backlog.set(key, (this.#backlog.get(key) ?? 0) + data.length);
    this.#port.post({ ...report, data }, [data.buffer]);
  }

  #report() {
    if (this.#dead) return;
    const now = performance.now();
    const cpu = Math.min(1, this.#busyMs / Math.max(1, now - this.#statsSince));
    this.#busyMs = 0;
    this.#statsSince = now;
    const known = this.#vm.stats();
    const stats = { cpu: Math.round(cpu * 100) / 100, bytesFetched: this.#meter.bytes };
    for (const key of STATS) stats[key] = known[key];
    known.free();
    if (Object.keys(stats).every((key) => stats[key] === this.#shown[key])) return;
    if (stats.created !== this.#shown.created) this.#port.post({ type: "event", event: "processCreated", value: stats.created });
    this.#shown = stats;
    this.#port.post({ type: "stats", stats });
  }
}

function streamKey(stream) {
  return stream.vt !== undefined ? `vt${stream.vt}` : `${stream.process}.${stream.fd}`;
}

function fail(code, message, more = {}) {
  return Object.assign(new Error(message), { failure: { code, message, ...more } });
}

function failure(error) {
  if (error?.failure) return error.failure;
  return { code: "crashed", message: error?.stack ?? error?.message ?? String(error) };
}
