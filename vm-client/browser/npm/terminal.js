// <skiff-terminal image="..." cmd="..." disk="...">: a machine and its terminal as one element.

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

import { CloudDevice, IDBDevice, Linux, OverlayDevice } from "./index.js";
import { KEY_ROW_STYLE, keyRow, leavesTerminal } from "./keys.js";
import { workerFrom } from "./port.js";
import xtermStyle from "./wasm/xterm-style.js";

const STYLE = `
:host { display: block; position: relative; min-height: 8em; height: 24em; background: #0b0f17; color: #e2e8f0; }
:host([hidden]) { display: none; }
.frame { position: absolute; inset: 0; display: flex; flex-direction: column; }
.screen { flex: 1; min-height: 0; padding: 6px 0 6px 10px; overflow: hidden; }
.screen .xterm-viewport { background: transparent !important; scrollbar-color: #334155 transparent; scrollbar-width: thin; }
.message { position: absolute; inset: auto 0 0 0; padding: 8px 12px; font: 14px/1.4 system-ui, sans-serif; background: #1e293b; }
.message:empty { display: none; }
.message button { margin-left: 12px; padding: 3px 12px; font: inherit; color: inherit; background: transparent; border: 1px solid #475569;
  border-radius: 6px; cursor: pointer; }
.message button:hover { background: #334155; }
${KEY_ROW_STYLE}`;

/** Where the files of a ready-made build lie, beside this one; a bundler finds them by itself. */
const built = typeof SKIFF_WORKER === "undefined" ? null : { worker: SKIFF_WORKER, wasm: SKIFF_WASM };

// In Node there is nothing to extend; the module can be imported all the same.
const Base = globalThis.HTMLElement ?? class {};

export class SkiffTerminal extends Base {
  static observedAttributes = ["image", "cmd", "disk", "memory", "screenreader"];
  #terminal = null;
  #message;
  #keys = null;
  #linux = null;
  #run = 0;
  #due = false;
  #observer = null;

  /** The machine, once it runs; null before and after. */
  get linux() {
    return this.#linux;
  }

  connectedCallback() {
    if (!this.shadowRoot) {
      const style = document.createElement("style");
      style.textContent = xtermStyle + STYLE;
      const screen = document.createElement("div");
      screen.className = "screen";
      const frame = document.createElement("div");
      frame.className = "frame";
      frame.append(screen);
      this.#message = document.createElement("div");
      this.#message.className = "message";
      this.#message.setAttribute("role", "status");
      this.attachShadow({ mode: "open" }).append(style, frame, this.#message);
    }
    this.#restartSoon();
  }

  disconnectedCallback() {
    this.#restartSoon();
  }

  attributeChangedCallback(name, before, now) {
    if (name === "screenreader") {
      if (this.#terminal) this.#terminal.options.screenReaderMode = now !== null;
      return;
    }
    if (before !== now && this.shadowRoot) this.#restartSoon();
  }

  /** Ends the machine, if there is one, and starts another. */
  restart() {
    return this.#restart();
  }

  #restartSoon() {
    // An element that is moved leaves and comes back within one task; several attributes change in one, too.
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      if (this.isConnected || this.#linux || this.#terminal) void this.#restart();
    });
  }

  async #restart() {
    const run = ++this.#run;
    const old = this.#linux;
    this.#linux = null;
    this.#observer?.disconnect();
    this.#keys?.element.remove();
    this.#terminal?.dispose();
    this.#terminal = null;
    this.#say("");
    await old?.delete();
    if (!this.isConnected || run !== this.#run) return;
    try {
      await this.#start(run);
    } catch (error) {
      if (run === this.#run) this.#fail(error);
    }
  }

  async #start(run) {
    const image = this.getAttribute("image");
    if (!image) return this.#say('This element wants an image: <skiff-terminal image="https://HOST/NAME">.');
    const terminal = new Terminal({
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, "DejaVu Sans Mono", "Liberation Mono", monospace',
      fontSize: 14,
      lineHeight: 1.15,
      screenReaderMode: this.hasAttribute("screenreader"),
      theme: { background: "#0b0f17", foreground: "#e2e8f0", cursor: "#38bdf8", selectionBackground: "#2f4a6b" },
    });
    terminal.attachCustomKeyEventHandler((event) => !leavesTerminal(event, () => this.#leave()));
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(this.shadowRoot.querySelector(".screen"));
    const keys = keyRow(terminal);
    this.shadowRoot.querySelector(".frame").append(keys.element);
    this.#keys = keys;
    fit.fit();
    this.#terminal = terminal;
    this.#observer = new ResizeObserver(() => fit.fit());
    this.#observer.observe(this);
    this.#say("Starting");

    const base = await CloudDevice.create(image);
    const disk = this.getAttribute("disk");
    const dev = disk ? await OverlayDevice.create(base, await IDBDevice.create(disk)) : base;
    const memory = Number(this.getAttribute("memory") ?? 512) * 1024 * 1024;
    const linux = await Linux.create({
      mounts: [{ type: "ext2", path: "/", dev }],
      memory,
      columns: terminal.cols,
      rows: terminal.rows,
      timeZone: "host",
      ...(built && { worker: workerFrom(beside(built.worker)), wasm: beside(built.wasm) }),
      onNotice: (notice) => {
        if (notice.code !== "hot-code") this.#say(notice.message);
        this.#tell("notice", notice);
      },
    });
    // Another start, or the end of the element, came in between.
    if (run !== this.#run) return void linux.delete();
    this.#linux = linux;
    linux.registerCallback("crash", (error) => run === this.#run && this.#fail(error));
    const show = (data) => new Promise((resolve) => terminal.write(data, resolve));
    const type = linux.setCustomConsole(show, terminal.cols, terminal.rows);
    terminal.onData((data) => type(keys.modify(data)));
    terminal.onBinary((data) => linux.input(Uint8Array.from(data, (character) => character.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => linux.resizeConsole(cols, rows));
    this.#say("");
    this.#tell("ready", linux);
    const cwd = this.getAttribute("cwd") ?? "/root";
    const { status } = await linux.run("/bin/sh", ["-c", this.getAttribute("cmd") ?? "exec /bin/bash --login"], { cwd });
    if (run !== this.#run) return;
    this.#tell("exit", { status });
    this.#say(`The program ended with status ${status}.`, "Start again");
  }

  /** Leaves the terminal by the keyboard: the element itself gets the focus, and Tab goes on from there. */
  #leave() {
    this.tabIndex = -1;
    this.focus();
  }

  #fail(error) {
    this.#linux = null;
    this.#tell("crash", error);
    this.#say(`${error.message.split("\n")[0]}.`, "Restart");
  }

  #say(text, button) {
    if (!this.#message) return;
    this.#message.textContent = text;
    if (!button) return;
    const restart = document.createElement("button");
    restart.textContent = button;
    restart.onclick = () => void this.#restart();
    this.#message.append(restart);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

function beside(name) {
  return new URL(name, import.meta.url).href;
}

globalThis.customElements?.get("skiff-terminal") ?? globalThis.customElements?.define("skiff-terminal", SkiffTerminal);
