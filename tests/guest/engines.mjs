// Runs the guest programs on compiled code and on the interpreter, in Node and in Chromium, and compares what they print
// with this computer's Linux: `node tests/guest/engines.mjs --work DIR --image-tools FILE [OPTIONS] [PROGRAM...]`.
//
// --work DIR           where programs and their image are made
// --image-tools FILE   the program that makes images
// --in A,B             node, chromium (default both)
// --jit A,B            how often code is interpreted before it is compiled, or off (default 0,off)
// --linkage A,B        static, dynamic (default static)
// --fast               only the programs about code
// --patience S         seconds that a program may take (default 120)
//
// A machine runs one program. The package is loaded as a web server or a directory has it, unbundled.

import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, readdir, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { constants } from "node:os";
import { extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { World } from "../browser/world.mjs";

const execute = promisify(execFile);
const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));
const npm = join(root, "vm-client/browser/npm");
const ENV = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"];
const LIBRARIES = ["ld-linux.so.2", "libc.so.6", "libm.so.6", "libgcc_s.so.1"];
const LIBRARY_DIRS = ["/usr/lib32", "/lib32", "/usr/lib/i386-linux-gnu", "/lib/i386-linux-gnu"];
/** What `--fast` runs: code that changes, faults, signals, control flow. */
const FAST = /^(code_|control_cut|deep_recursion|exec_state|faults|frames|hello|single_step|unwinding)/;
/** Reads a terminal that is not there. */
const LEFT_OUT = ["echo_beside_loops"];

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };
const PAGE = `<!doctype html><title>guest</title><script type="module">
import { CloudDevice, Linux } from "/npm/index.js";
globalThis.run = async (file, jit, env, timeout) => {
  const dev = await CloudDevice.create(new URL("/store/guest", location).href);
  const mounts = [{ type: "ext2", path: "/", dev }];
  const linux = await Linux.create({ mounts, jit, memory: 512 << 20 });
  try {
    const text = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
    const { status, stdout, stderr } = await linux.run(file, [], { env, cwd: "/tmp", stdout: "pipe", stderr: "pipe", timeout });
    return text(stdout) + text(stderr) + "status " + status + "\\n";
  } finally {
    await linux.delete();
  }
};
</script>`;

const words = process.argv.slice(2);
const take = (name, other) => {
  const at = words.indexOf(name);
  return at < 0 ? other : words.splice(at, 2)[1];
};
const flag = (name) => words.includes(name) && words.splice(words.indexOf(name), 1).length > 0;
const work = resolve(take("--work", join(root, "build/guest")));
const imageTools = take("--image-tools", join(root, "target/debug/image-tools"));
const places = take("--in", "node,chromium").split(",");
const engines = take("--jit", "0,off").split(",");
const linkages = take("--linkage", "static").split(",");
const patienceMs = Number(take("--patience", "120")) * 1000;
const fast = flag("--fast");

const sources = (await readdir(join(here, "programs"))).filter((name) => name.endsWith(".c")).map((name) => name.slice(0, -2));
const strange = words.filter((name) => !sources.includes(name));
if (strange.length) throw new Error(`there is no program ${strange.join(", ")}; there are ${sources.sort().join(" ")}`);
const chosen = sources.sort().filter((name) => (words.length ? words.includes(name) : !LEFT_OUT.includes(name) && (!fast || FAST.test(name))));
const files = chosen.flatMap((name) => linkages.map((linkage) => `${name}.${linkage}`));

const tree = join(work, "tree");
await build();
const expected = new Map();
for (const file of files) expected.set(file, await natively(file));

let [passed, failed] = [0, 0];
for (const place of places) {
  const machines = await { node: inNode, chromium: inChromium }[place]();
  for (const jit of engines) {
    for (const file of files) {
      const start = performance.now();
      const got = await machines.run(`/bin/${file}`, jit === "off" ? jit : Number(jit)).catch((error) => `${error.message}\n`);
      const good = got === expected.get(file);
      good ? (passed += 1) : (failed += 1);
      const took = ((performance.now() - start) / 1000).toFixed(1);
      console.log(`test ${file} with jit ${jit} in ${place} ... ${good ? "ok" : "FAILED"} (${took} s)`);
      if (!good) console.log(difference(expected.get(file), got));
    }
  }
  await machines.stop();
}
console.log(`\ntest result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed; 0 ignored; 0 measured; 0 filtered out`);
process.exit(failed ? 1 : 0);

/** Compiles what is older than its source, and makes the image if anything was compiled. */
async function build() {
  for (const folder of ["bin", "dev", "etc", "lib", "lib32", "proc", "root", "sys", "tmp"]) await mkdir(join(tree, folder), { recursive: true });
  await execute("chmod", ["1777", join(tree, "tmp")]);
  const flags = (await readFile(join(here, "flags"), "utf8")).trim().split(/\s+/);
  const age = (path) => stat(path).then(({ mtimeMs }) => mtimeMs, () => 0);
  const header = await age(join(here, "programs/check.h"));
  let changed = false;
  for (const file of files) {
    const [name, linkage] = file.split(".");
    const [source, target] = [join(here, `programs/${name}.c`), join(tree, "bin", file)];
    if ((await age(target)) > Math.max(header, await age(source))) continue;
    await execute("gcc", [...flags, ...(linkage === "static" ? ["-static"] : []), "-o", target, source, "-lm"]);
    changed = true;
  }
  for (const library of linkages.includes("dynamic") ? LIBRARIES : []) {
    const target = join(tree, "lib32", library);
    if (existsSync(target)) continue;
    const found = LIBRARY_DIRS.map((folder) => join(folder, library)).find(existsSync);
    if (!found) throw new Error(`there is no 32-bit ${library}: install gcc-multilib`);
    await copyFile(found, target);
    if (library === "ld-linux.so.2") await copyFile(found, join(tree, "lib", library));
    changed = true;
  }
  const store = join(work, "store");
  if (!changed && existsSync(store)) return;
  await rm(store, { recursive: true, force: true });
  await execute(imageTools, ["build", "--name", "guest", "-o", store, "--from", `dir:${tree}`]);
}

/** What a program prints here: standard output, then errors, then how it ended as a shell tells it. */
function natively(file) {
  const env = Object.fromEntries(ENV.map((pair) => pair.split("=")));
  return new Promise((resolve, reject) => {
    const child = spawn(join(tree, "bin", file), [], { cwd: "/tmp", env, stdio: ["ignore", "pipe", "pipe"] });
    const text = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"]) child[name].setEncoding("latin1").on("data", (data) => (text[name] += data));
    const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs);
    child.on("error", reject);
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      resolve(`${text.stdout}${text.stderr}status ${status ?? 128 + constants.signals[signal]}\n`);
    });
  });
}

/** A process of Node for each program: what generated code leaves behind ends with it. */
async function inNode() {
  return {
    async run(file, jit) {
      const command = [join(npm, "cli.mjs"), "run", "--image", `${work}/store/guest`, "--memory", "512", "--cwd", "/tmp"];
      command.push("--env", "LANG=C", "--jit", String(jit), "--timeout", String(patienceMs / 1000), "--", file);
      const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "pipe"] });
      const text = { stdout: "", stderr: "" };
      for (const name of ["stdout", "stderr"]) child[name].setEncoding("latin1").on("data", (data) => (text[name] += data));
      const timer = setTimeout(() => child.kill("SIGKILL"), patienceMs * 2);
      const [status] = await once(child, "close");
      clearTimeout(timer);
      return `${text.stdout}${text.stderr}status ${status}\n`;
    },
    stop: async () => {},
  };
}

/** A page with a machine for each program. */
async function inChromium() {
  const folders = { "/npm/": npm, "/store/": join(work, "store") };
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, "http://localhost").pathname);
    if (path === "/") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    const folder = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    const bytes = folder && (await readFile(join(folders[folder], path.slice(folder.length))).catch(() => undefined));
    if (!bytes) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(bytes);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const world = await World.browserOnly();
  return {
    async run(file, jit) {
      const page = await (await world.context()).newPage();
      const seen = [];
      page.on("pageerror", (error) => seen.push(error.message));
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      await page.waitForFunction(() => globalThis.run, undefined, { timeout: patienceMs }).catch((error) => {
        throw new Error([error.message, ...seen].join("\n"));
      });
      const env = [...ENV, "HOME=/root", "TERM=dumb"];
      const text = await page.evaluate((args) => globalThis.run(...args), [file, jit, env, patienceMs]);
      await world.afterTest();
      return text;
    },
    async stop() {
      await world.stop();
      server.close();
    },
  };
}

/** The first lines that differ. */
function difference(native, guest) {
  const [left, right] = [native.split("\n"), guest.split("\n")];
  const places = Array.from({ length: Math.max(left.length, right.length) }, (_, at) => at).filter((at) => left[at] !== right[at]);
  return places.slice(0, 8).map((at) => `line ${at + 1}:\n  Linux: ${left[at] ?? "-"}\n  Skiff: ${right[at] ?? "-"}`).join("\n");
}
