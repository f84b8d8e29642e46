// Serves a store in a directory by the built Worker, in workerd:
//
//   node edge-worker/serve.mjs --store DIR [--port N] [--static DIR] [--date YYYY-MM-DD] [--kind r2|assets]
//                              [--var NAME=VALUE]...
//
// The store's files are put into a simulated R2 bucket (or deployed as static assets) under their own names. The first
// line on standard output is `worker is at http://127.0.0.1:PORT/`. Each line on standard input is a command in JSON,
// answered by a line of JSON on standard output, in order:
//
//   {"put": KEY, "file": PATH}      stores a file's bytes under a key, whatever they are
//   {"delete": KEY}                 removes a key
//   {"poison": KEY, "file": PATH}   puts a file's bytes into the Cache API, as if it had been damaged there
//   {"cached": KEY}                 tells how many bytes the Cache API has under a key, or null
//   {"forget": true}                empties the Cache API
//   {"restart": true}               starts the Worker anew, with empty memory; bucket and Cache API stay
//   {"vars": {NAME: VALUE}}         the same with other variables
//
// It ends on SIGTERM or when standard input is closed. Tests use it; `cargo xtask worker dev` runs wrangler instead.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { LocalWorker } from "./local.mjs";

const { values: options } = parseArgs({
  options: {
    store: { type: "string" },
    port: { type: "string", default: "0" },
    static: { type: "string" },
    date: { type: "string" },
    kind: { type: "string", default: "r2" },
    var: { type: "string", multiple: true, default: [] },
  },
});
if (!options.store) {
  console.error("serve.mjs: --store DIR is missing");
  process.exit(2);
}

const vars = Object.fromEntries(options.var.map((text) => [text.split("=", 1)[0], text.slice(text.indexOf("=") + 1)]));
const worker = await LocalWorker.start({
  store: options.store,
  site: options.static,
  port: Number(options.port),
  date: options.date,
  kind: options.kind,
  vars,
});
console.log(`worker is at ${worker.url}`);

async function obey(command) {
  if (command.put) return worker.put(command.put, await readFile(command.file));
  if (command.delete) return worker.delete(command.delete);
  if (command.poison) return worker.poison(command.poison, await readFile(command.file));
  if (command.cached) return { bytes: await worker.cached(command.cached) };
  if (command.forget) return worker.forget();
  if (command.restart) return worker.restart();
  if (command.vars) return worker.restart(command.vars);
  throw new Error("there is no such command");
}

const lines = createInterface({ input: process.stdin });
let last = Promise.resolve();
lines.on("line", (line) => {
  last = last.then(async () => {
    const answer = await Promise.resolve().then(() => obey(JSON.parse(line))).catch((error) => ({ error: error.message }));
    console.log(JSON.stringify({ ok: !answer?.error, ...answer }));
  });
});
await Promise.race([once(lines, "close"), once(process, "SIGTERM"), once(process, "SIGINT")]);
await worker.stop();
process.exit(0);
