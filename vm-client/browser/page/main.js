// The demo page: a terminal, a status line, and words for whatever goes wrong.

import "@xterm/xterm/css/xterm.css";
import "./style.css";

import { CloudDevice, IDBDevice, Linux, OverlayDevice } from "../npm/index.js";
import { BootScreen } from "./boot.js";
import { takeDrops } from "./files.js";
import { advice, banner, confirmed } from "./notices.js";
import { smallScreens } from "./small.js";
import { StatusLine } from "./status.js";
import { openTerminal } from "./terminal.js";

const config = JSON.parse(document.getElementById("config").textContent);
const parameters = new URLSearchParams(location.search);
// A link can name another image or version of this host: ?image=./debian@b3:...
const image = parameters.get("image") ?? config.image;
const boot = new BootScreen(config.title);
const status = new StatusLine();
document.getElementById("title").textContent = config.title;

const { terminal, modify } = openTerminal(document.getElementById("terminal"));
const WASM = new URL(SKIFF_WASM, document.baseURI).href;
const newWorker = () => new Worker(new URL(SKIFF_WORKER, document.baseURI), { type: "module", name: "skiff" });
let linux = null;
takeDrops(document.getElementById("terminal"), () => linux);
smallScreens();

document.getElementById("reset").onclick = () => reset();
document.getElementById("export").onclick = () => exportDisk();
document.getElementById("import").onclick = () => document.getElementById("import-file").click();
document.getElementById("import-file").onchange = ({ target }) => importDisk(target);

try {
  await start(image);
} catch (error) {
  report(error);
}

async function start(name) {
  const idb = await IDBDevice.create(config.overlay);
  const base = await CloudDevice.create(name);
  const overlay = await OverlayDevice.create(base, idb);
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
    timeZone: "host",
    worker: newWorker(),
    wasm: WASM,
    onNotice: notice,
    onStats: (stats) => {
      status.show(stats);
      boot.progress(stats);
      offline(stats.offline);
    },
  });
  // For the browser's console and for whoever adds a script to this page.
  linux.terminal = terminal;
  linux.api = { CloudDevice, IDBDevice, Linux, OverlayDevice, newWorker, wasm: WASM };
  linux.registerCallback("crash", (error) => crashed(error));
  linux.registerCallback("persistence", (answer) => status.persistence(answer));
  status.persistent(linux.disk.persistent);

  const show = (data) => {
    boot.done();
    return new Promise((resolve) => terminal.write(data, resolve));
  };
  const type = linux.setCustomConsole(show, terminal.cols, terminal.rows);
  terminal.onData((data) => type(modify(data)));
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
  // Nobody has to know: a load is only as slow as the first one was.
  if (code === "hot-code") return console.info(message);
  if (code === "answers") return banner.remove("no-answer");
  const actions = code === "no-answer" ? [["Restart", () => location.reload()]] : undefined;
  banner.show(code, message, { bad: ["image-corrupt", "overlay-lost", "overlay-full", "no-answer"].includes(code), actions });
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
  const text = `The machine stopped: ${error.message.split("\n")[0]}. What was stored before is safe.`;
  const report = [`Skiff stopped at ${new Date().toISOString()}`, error.message, JSON.stringify(linux?.stats), image, navigator.userAgent];
  banner.show("crash", text, {
    bad: true,
    actions: [
      ["Restart", () => location.reload()],
      ["Save report", () => save(new Blob([report.join("\n\n")], { type: "text/plain" }), "skiff-report.txt")],
    ],
  });
}

async function exportDisk() {
  try {
    // A machine that has stopped leaves what it had stored.
    const stored = async () => (await IDBDevice.create(config.overlay)).export();
    const file = await (linux ? linux.exportDisk().catch((error) => (error.code === "crashed" ? stored() : Promise.reject(error))) : stored());
    save(file, `${config.overlay}-${new Date().toISOString().slice(0, 10)}.skiff`);
  } catch (error) {
    banner.show("export", `The disk could not be exported: ${error.message}.`, { bad: true });
  }
}

async function importDisk(input) {
  const [file] = input.files;
  input.value = "";
  if (!file) return;
  const question = "The changes there are now are replaced by those in the file. This cannot be undone; export them first to keep them.";
  if (!(await confirmed("Import this disk?", question, "Import"))) return;
  try {
    await linux?.delete();
    const idb = await IDBDevice.create(config.overlay);
    const { manifest } = await idb.import(file);
    location.assign(`${location.pathname}?image=${image.split("@")[0]}@b3:${manifest}`);
  } catch (error) {
    banner.show("import", `The file could not be imported: ${error.message}.`, {
      bad: true,
      actions: [["Restart", () => location.reload()]],
    });
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
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
