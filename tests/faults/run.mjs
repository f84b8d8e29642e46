// Hours of guest work over a network that fails in every way:
// `node tests/faults/run.mjs --block-server FILE --vmrun FILE [--minutes N] [--seed N] [--json FILE]`.
//
// Round after round a guest with an empty cache reads a part of the demo image, in vmrun and every fourth time in Chromium. What it
// must show: it only waits; every byte it reads is the image's; damage is counted; after each outage it goes on within 2 s.

import { writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";

import { BlockServer, World, root, sleep, store } from "../browser/world.mjs";
import { filesOf } from "./golden.mjs";
import { readInTab, readWithVmrun } from "./guests.mjs";
import { FaultProxy } from "./proxy.mjs";
import { Random } from "./random.mjs";
import { STUCK_MS, Watch } from "./watch.mjs";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const blockServer = option("block-server");
const vmrun = option("vmrun");
const minutes = Number(option("minutes", "60"));
const seed = Number(option("seed", String(Date.now() % 1e6)));
/** The guest must be back at work so soon after the network. */
const MUST_MS = 2000;
/** Read by a guest of vmrun; then comes the next, with an empty cache. */
const ROUND_BYTES = 40e6;
const FOLDERS = ["./usr", "./etc", "./var/lib"];

for (const file of [blockServer, vmrun]) {
  if (!file || !existsSync(file)) throw new Error("--block-server and --vmrun must name the built programs");
}
const say = (text) => console.log(`${new Date().toISOString().slice(11, 19)} ${text}`);
const random = new Random(seed);
say(`seed ${seed}, ${minutes} minutes`);
const files = (await Promise.all(FOLDERS.map((folder) => filesOf(`${root}build/demo/root.tar`, folder)))).flat().filter(({ size }) => size > 0);
say(`${files.length} files, ${(files.reduce((sum, { size }) => sum + size, 0) / 1e6).toFixed(0)} MB`);
const server = await BlockServer.start(blockServer, store);
const total = { rounds: 0, bytes: 0, files: 0, wrong: [], refused: 0, garbled: 0, received: 0, lost: 0, counts: {}, back: [], stuck: 0 };
const end = performance.now() + minutes * 60_000;
try {
  while (performance.now() < end) {
    total.rounds += 1;
    const browser = total.rounds % 4 === 0;
    const proxy = await FaultProxy.start(server.port, { seed: random.whole(0, 2 ** 31) });
    await (browser ? tabRound(proxy) : vmrunRound(proxy));
    for (const [name, count] of Object.entries(proxy.counts)) total.counts[name] = (total.counts[name] ?? 0) + count;
    proxy.stop();
    const { counts } = total;
    say(
      `round ${total.rounds} (${browser ? "Chromium" : "vmrun"}): ${(total.bytes / 1e6).toFixed(0)} MB read, ${counts.corrupt} corrupted ` +
        `(${counts.objects} objects), ${total.refused} refused, ${total.garbled} garbled, ${counts.outages} outages, ${total.wrong.length} wrong`,
    );
  }
} finally {
  await server.stop();
}
const back = total.back.map(({ backMs }) => backMs).sort((a, b) => a - b);
const figures = {
  seed,
  minutes,
  ...total,
  back: { outages: back.length, medianMs: back[back.length >> 1] ?? null, worstMs: back.at(-1) ?? null, late: back.filter((ms) => ms > MUST_MS).length },
};
console.log(JSON.stringify(figures, null, 1));
if (option("json")) await writeFile(option("json"), JSON.stringify(figures, null, 1));
// What was damaged must have been noticed; a few messages meet nobody who still wants them.
const unnoticed = total.counts.objects > 100 && total.refused + total.garbled < total.counts.objects * 0.8;
if (unnoticed) console.log("damage was not counted");
process.exit(total.wrong.length || total.stuck || figures.back.late || unnoticed ? 1 : 0);

async function vmrunRound(proxy) {
  let child;
  const watch = new Watch(proxy, random, () => child.kill("SIGKILL"));
  const chosen = [];
  let bytes = 0;
  for (const file of random.shuffled(files)) {
    if (bytes > ROUND_BYTES) break;
    bytes += file.size;
    chosen.push(file);
  }
  const left = Math.max(1000, end - performance.now());
  const over = setTimeout(() => child.kill("SIGTERM"), left);
  const watching = watch.run();
  const result = await readWithVmrun(vmrun, proxy.url, chosen, { onData: () => watch.progress(), onStart: (started) => (child = started) });
  clearTimeout(over);
  watch.stop();
  await watching;
  note(watch);
  const { comparison } = result;
  total.bytes += comparison.bytes;
  total.files += comparison.done;
  total.wrong.push(...comparison.wrong);
  for (const key of ["refused", "garbled", "received", "lost"]) total[key] += result[key];
  const cutShort = performance.now() >= end || watch.stuck;
  if (!cutShort && (result.status !== 0 || !comparison.complete)) total.wrong.push(`vmrun ended with ${result.status}: ${result.said.slice(-600)}`);
}

async function tabRound(proxy) {
  const world = await World.browserOnly();
  let stuck = false;
  const watch = new Watch(proxy, random, () => ((stuck = true), void world.browser.close()));
  const watching = watch.run();
  try {
    const tab = await world.tab({ url: proxy.url });
    await tab.prompt(STUCK_MS);
    watch.progress();
    const chosen = random.shuffled(files).filter(({ size }) => size > 20_000).slice(0, 250);
    let read = 0;
    for (const one of chosen) {
      if (performance.now() > end) break;
      total.wrong.push(...(await readInTab(tab.page, [one])));
      watch.progress();
      read += one.size;
      total.files += 1;
    }
    total.bytes += read;
    await sleep(300);
    const stats = await tab.page.evaluate(() => globalThis.skiff.stats);
    total.refused += stats.damaged;
    total.lost += stats.losses;
    total.received += stats.chunks;
    const bad = (await tab.banners()).filter((words) => /corrupt|damaged|Input/.test(words));
    total.wrong.push(...bad);
  } catch (error) {
    if (!stuck) total.wrong.push(`tab: ${error.message}`);
  } finally {
    watch.stop();
    await watching;
    note(watch);
    if (!stuck) await world.stop();
  }
}

function note(watch) {
  total.back.push(...watch.back);
  for (const { mode, awayMs, backMs } of watch.back) {
    if (backMs > MUST_MS) say(`after ${mode} for ${awayMs} ms the guest was back after ${backMs} ms`);
  }
  if (!watch.stuck) return;
  total.stuck += 1;
  total.wrong.push(`a guest got nowhere for ${STUCK_MS / 1000} s`);
}
