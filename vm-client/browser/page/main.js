// The demo page: a terminal, a status line, and words for whatever goes wrong.

import "@xterm/xterm/css/xterm.css";
import "./style.css";

import { CloudDevice, IDBDevice, Linux, OverlayDevice } from "../npm/index.js";
import { BootScreen } from "./boot.js";
import { advice, banner, confirmed } from "./notices.js";
import { StatusLine } from "./status.js";
import { openTerminal } from "./terminal.js";

const config = JSON.parse(document.getElementById("config").textContent);
const parameters = new URLSearchParams(location.search);
// A link can name another image or version of this host: ?image=./debian@b3:...
const image = parameters.get("image") ?? config.image;
const boot = new BootScreen(config.title);
const status = new StatusLine();
document.getElementById("title").textContent = config.title;

const terminal = openTerminal(document.getElementById("terminal"));
let linux = null;

document.getElementById("reset").onclick = () => reset();

try {
  await start(image);
} catch (error) {
  report(error);
}

async function start(name) {
  const idb = await IDBDevice.create(config.overlay);
  const base = await CloudDevice.create(name);
  const overlay = await OverlayDevice.create(base, idb);
  const worker = new Worker(new URL(SKIFF_WORKER, document.baseURI), { type: "module", name: "skiff" });
  linux = await Linux.create({
    mounts: [
      { type: "ext2", path: "/", dev: overlay },
      { type: "devs", path: "/dev" },
      { type: "devpts", path: "/dev/pts" },
      { type: "proc", path: "/proc" },
      { type: "sys", path: "/sys" },
    ],
    memory: config.memoryMiB * 1024 * 1024,
    columns: terminal.cols,
    rows: terminal.rows,
    worker,
    wasm: new URL(SKIFF_WASM, document.baseURI).href,
    onNotice: notice,
    onStats: (stats) => {
      status.show(stats);
      boot.progress(stats);
      offline(stats.offline);
    },
  });
  linux.terminal = terminal;
  linux.registerCallback("crash", (error) => crashed(error));
  status.persistent(linux.disk.persistent);

  const show = (data) => {
    boot.done();
    return new Promise((resolve) => terminal.write(data, resolve));
  };
  const type = linux.setCustomConsole(show, terminal.cols, terminal.rows);
  terminal.onData(type);
  terminal.onBinary((data) => linux.input(Uint8Array.from(data, (character) => character.charCodeAt(0))));
  terminal.onResize(({ cols, rows }) => linux.resizeConsole(cols, rows));
  terminal.focus();
  globalThis.skiff = linux;
  boot.say("Starting the shell");
  await shells();
}

/** A shell, and another one after each. */
async function shells() {
  const [file, ...args] = config.command;
  const env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm-256color", ...config.env];
  for (;;) {
    const { status: code } = await linux.run(file, args, { env, cwd: config.cwd });
    boot.done();
    terminal.write(`\r\n\x1b[90mThe shell ended with status ${code}. Press Enter for another.\x1b[0m\r\n`);
    await new Promise((resolve) => {
      const key = terminal.onKey(({ domEvent }) => {
        if (domEvent.key !== "Enter") return;
        key.dispose();
        resolve();
      });
    });
  }
}

function offline(now) {
  const text =
    "The server cannot be reached. Programs that need more of the disk wait, nothing is lost, and everything goes on by " +
    "itself once the server answers.";
  if (now) banner.show("offline", text);
  else banner.remove("offline");
}

function notice({ code, message }) {
  if (code === "overlay-well") return ["overlay-full", "overlay-trouble"].forEach((old) => banner.remove(old));
  banner.show(code, message, { bad: code === "image-corrupt" || code === "overlay-lost" || code === "overlay-full" });
}

function report(error) {
  console.error(error);
  const { title, text } = advice(error);
  const actions = [["Try again", () => location.reload(), "main"]];
  if (error.code === "overlay-mismatch") {
    const earlier = `${image.split("@")[0]}@b3:${error.manifest}`;
    actions.splice(0, 1, ["Go on with the earlier version", () => (location.search = `?image=${earlier}`), "main"]);
    actions.push(["Reset and use the new one", () => reset()]);
  }
  boot.fail(title, text, actions);
}

function crashed(error) {
  console.error(error);
  const text = `The machine stopped: ${error.message.split("\n")[0]}. What was saved before is safe.`;
  banner.show("crash", text, { bad: true, action: ["Reload", () => location.reload()] });
}

async function reset() {
  const sure = await confirmed(
    "Reset the disk?",
    "Every file you made or changed on this disk is forgotten. This cannot be undone.",
    "Reset disk",
  );
  if (!sure) return;
  try {
    await linux?.delete();
    const idb = await IDBDevice.create(config.overlay);
    await idb.reset();
    location.assign(location.pathname);
  } catch (error) {
    report(error);
  }
}
