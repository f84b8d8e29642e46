// Measures what one cold boot of the demo image asks of the Worker, and writes it to `costs.json`:
// `node deploy/measure-boot.mjs`. A headless Chromium boots from the Worker in workerd, whose log counts.

import { readFileSync } from "node:fs";
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { LocalWorker } from "../edge-worker/local.mjs";
import { site, store, World } from "../tests/browser/world.mjs";

const world = await World.browserOnly();

async function boot(vars) {
  const worker = await LocalWorker.start({ store, site, vars: { LOG: "json", ...vars } });
  const pid = await worker.runtimePid();
  const before = cpuMs(pid);
  const tab = await world.shell({ url: worker.url });
  await tab.page.close();
  // Sessions report when they are closed.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const lines = worker.log
    .join("")
    .split("\n")
    .filter((line) => line.includes('{"what":'))
    .map((line) => JSON.parse(line.slice(line.indexOf("{"))));
  const sum = (field, kinds) => lines.filter(({ what }) => !kinds || kinds.includes(what)).reduce((total, line) => total + (line[field] ?? 0), 0);
  const records = lines.filter(({ what }) => what === "tag").length;
  const sessions = lines.filter(({ what }) => what === "session");
  const measured = {
    // Each session is one request: its upgrade.
    requests: lines.length,
    objects: sum("objects", ["object", "batch", "session"]),
    bytes: sum("bytes"),
    records,
    messages: sum("messages"),
    // Upper bound: an object is billed while it is awake, and it sleeps ten seconds after it was last asked.
    activeSeconds: Math.ceil(sessions.reduce((total, { ms }) => total + ms / 1000 + 10, 0)),
    cpuMs: Math.round(cpuMs(pid) - before),
  };
  await worker.stop();
  return measured;
}

/** CPU time that workerd has used so far. */
function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /, "").split(" ");
  // utime and stime, in ticks of 10 ms.
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function sizes(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  let bytes = 0;
  for (const file of files) bytes += (await stat(file)).size;
  return { chunks: files.length, bytes };
}

const measured = {
  socket: await boot({ SOCKETS: "worker" }),
  http: await boot({ SOCKETS: "off" }),
  object: await boot({ SOCKETS: "object" }),
  store: await sizes(store),
};
await world.stop();
await writeFile(new URL("costs.json", import.meta.url), `${JSON.stringify(measured, null, 2)}\n`);
console.log(JSON.stringify(measured, null, 2));
