// Runs a command on a fresh copy of an image in a headless Chromium, as `skiff run` does in Node: `node chromium.mjs
// --block-server FILE --image STORE/NAME [--cwd DIR] [--memory MIB] [--env K=V]... -- COMMAND [ARG...]`. Prints what the
// command prints and ends as it ends; 125 when the machine could not start.

import { dirname, basename, resolve } from "node:path";

import { BlockServer, World, root } from "../browser/world.mjs";

const words = process.argv.slice(2);
const cut = words.indexOf("--");
const options = { env: [], cwd: "/", memory: "512" };
for (let at = 0; at < cut; at += 2) {
  const name = words[at].replace(/^--/, "");
  if (name === "env") options.env.push(words[at + 1]);
  else options[name] = words[at + 1];
}
const [file, ...args] = words.slice(cut + 1);
if (!options["block-server"] || !options.image || !file) {
  process.stderr.write("usage: chromium.mjs --block-server FILE --image STORE/NAME [OPTIONS] -- COMMAND [ARG...]\n");
  process.exit(125);
}

/** Runs in the page. */
async function inTab({ image, memory, env, cwd, file, args }) {
  const { CloudDevice, Linux } = await import("/index.js");
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev: new CloudDevice(image) }], memory });
  const text = (bytes) => new TextDecoder().decode(bytes);
  try {
    const done = await linux.run(file, args, { env, cwd, stdin: "", stdout: "pipe", stderr: "pipe" });
    return { status: done.status, text: text(done.stdout) + text(done.stderr) };
  } finally {
    await linux.delete();
  }
}

const server = await BlockServer.start(
  options["block-server"],
  dirname(resolve(options.image)),
  undefined,
  `${root}vm-client/browser/npm`,
);
const world = await World.browserOnly();
let status = 125;
try {
  const page = await (await world.context()).newPage();
  // Any document of this origin will do.
  await page.goto(`${server.url}healthz`);
  const image = `${server.url}${basename(options.image)}`;
  const { env, cwd } = options;
  const done = await page.evaluate(inTab, { image, memory: Number(options.memory) * 1024 * 1024, env, cwd, file, args });
  status = done.status;
  await new Promise((written) => process.stdout.write(done.text, written));
} catch (error) {
  process.stderr.write(`chromium: ${error.message}\n`);
} finally {
  await world.stop();
  await server.stop();
}
process.exit(status);
