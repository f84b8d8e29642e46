// Measures the client: `node tests/browser/bench.mjs --block-server FILE [--vmrun FILE] [SECTION...]`.
// Sections: start, warm, speed, overlay, disk. Figures only, no verdict; the machine should be idle. `--json FILE` keeps those of `disk`, `--quick` does less of it.

import { execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { measureDisk } from "./bench/disk.mjs";
import { World, root, sleep, store, tabMemory } from "./world.mjs";

const execute = promisify(execFile);
const words = process.argv.slice(2);
const option = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);
const server = option("--block-server");
const vmrun = option("--vmrun");
const sections = words.filter((word, at) => !word.startsWith("--") && !words[at - 1]?.startsWith("--"));
const wanted = (name) => sections.length === 0 || sections.includes(name);
const say = (what, figure) => console.log(`${what.padEnd(56)} ${figure}`);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

const world = await World.start(server);
try {
  if (wanted("start")) await start();
  if (wanted("warm")) await warm();
  if (wanted("speed")) await speed();
  if (wanted("overlay")) await overlay();
  if (wanted("disk")) await disk();
} finally {
  await world.afterTest();
  await world.stop();
}

async function start() {
  const cold = [];
  const warm = [];
  for (let round = 0; round < 3; round += 1) {
    const tab = await world.shell();
    cold.push(performance.now() - tab.opened);
    const again = performance.now();
    await tab.reload();
    warm.push(performance.now() - again);
    if (round === 2) {
      await sleep(1000);
      const stats = await tab.page.evaluate(() => globalThis.skiff.stats);
      say("chunks and bytes to the prompt", `${stats.chunks}, ${(stats.bytesFetched / 1e6).toFixed(2)} MB`);
      say("guest memory at the prompt", `${(stats.memory / 1e6).toFixed(0)} MB`);
      say("memory of the tab's process (PSS) at the prompt", `${(await tabMemory(tab)).toFixed(0)} MB`);
    }
    await world.afterTest();
  }
  say("prompt from a cold cache, loopback, median of 3", `${(median(cold) / 1000).toFixed(2)} s`);
  say("prompt after a reload, median of 3", `${(median(warm) / 1000).toFixed(2)} s`);
}

/** The first run of a program after a reload, without and with the list of hot code of the load before. */
async function warm() {
  const jobs = [
    ["a loop of perl", "perl", ["-e", "my %h; for my $i (1..60000) { $h{$i % 997} += $i * 3; } print scalar keys %h"]],
    ["a loop of python3", "python3", ["-c", "print(sum(i * i % 7 for i in range(150000)))"]],
    ["python3 that starts", "python3", ["-c", "import json, re, argparse"]],
    ["sort and gzip", "/bin/sh", ["-c", "seq 1 20000 | sort -r | gzip -c | md5sum"]],
  ];
  for (const [what, file, args] of jobs) {
    const times = { without: [], with: [] };
    for (let round = 0; round < 3; round += 1) {
      const tab = await world.shell();
      const run = () =>
        tab.page.evaluate(async ([file, args]) => {
          const start = performance.now();
          await globalThis.skiff.run(file, args, { stdout: "pipe" });
          const ms = performance.now() - start;
          const figures = await globalThis.skiff.profile();
          // The list is stored when the machine ends.
          await globalThis.skiff.delete();
          return { ms, expected: figures["regions that were expected"] };
        }, [file, args]);
      // Chunks of the disk are in the browser's cache from here on.
      await run();
      await tab.page.evaluate(() => new Promise((resolve) => (indexedDB.deleteDatabase("skiff-hot-code").onsuccess = resolve)));
      for (const kind of Object.keys(times)) {
        await tab.reload();
        const { ms, expected } = await run();
        if ((expected > 0) !== (kind === "with")) throw new Error(`${expected} regions were expected ${kind} a list`);
        times[kind].push(ms);
      }
      await world.afterTest();
    }
    const [without, withList] = [times.without, times.with].map((list) => median(list).toFixed(0));
    say(`${what}, first run after a reload, without and with a list`, `${without} and ${withList} ms`);
  }
}

async function disk() {
  const figures = await measureDisk(world, { quick: words.includes("--quick") });
  const { write, fsync, inodes, churn, tar } = figures;
  say(`${write.mib} MiB written, until write(2) and until fsync(2) returned`, `${write.acceptedMBps} and ${write.storedMBps} MB/s`);
  say("fsync after 4 KiB, median, 95 of 100, worst", `${fsync.medianMs}, ${fsync.p95Ms}, ${fsync.worstMs} ms`);
  say(`${inodes.count} new files; programs that read them`, `${inodes.ms} ms; ${inodes.programsAfterMs} ms`);
  say(`overlay before and after ${churn.rounds} times ${churn.mib} MiB`, `${churn.overlayMBBefore.toFixed(1)} and ${churn.overlayMBAfter.toFixed(1)} MB`);
  say(`tar of ${tar.files} files, ${tar.mib} MiB`, `${tar.seconds} s (${tar.mbPerSecond} MB/s), engine busy ${Math.round(tar.engineBusy * 100)}%`);
  say("reading that tar alone; sync after unpacking", `${tar.readOnlySeconds} s; ${tar.syncAfterSeconds} s`);
  if (option("--json")) await writeFile(option("--json"), JSON.stringify(figures, null, 1));
}

async function speed() {
  const folder = await mkdtemp(join(tmpdir(), "skiff-bench-"));
  try {
    const binary = join(folder, "speed");
    await execute("gcc", ["-m32", "-static", "-O2", "-o", binary, `${root}tests/browser/bench/speed.c`]);
    const rows = {
      "this computer": parse((await execute(binary)).stdout),
      "qemu-i386": parse((await execute("qemu-i386", [binary])).stdout),
    };
    const tab = await world.shell();
    const bytes = (await readFile(binary)).toString("base64");
    const run = await tab.page.evaluate(async (text) => {
      const { skiff } = globalThis;
      const program = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
      await skiff.run("/bin/sh", ["-c", "cat > /tmp/speed; chmod +x /tmp/speed"], { stdin: program });
      const before = skiff.stats.retired;
      const start = performance.now();
      const { stdout } = await skiff.run("/tmp/speed", [], { stdout: "pipe" });
      const ms = performance.now() - start;
      await new Promise((resolve) => setTimeout(resolve, 500));
      return { text: new TextDecoder().decode(stdout), mips: (skiff.stats.retired - before) / ms / 1000 };
    }, bytes);
    rows["Skiff in Chromium"] = parse(run.text);
    const node = join(root, "vm-client/browser/npm/cli.mjs");
    const command = ["--image", `${store}/debian`, "--", "/bin/sh", "-c", "cat > /tmp/speed; chmod +x /tmp/speed; /tmp/speed"];
    rows["Skiff in Node"] = parse(await piped(process.execPath, [node, "run", ...command], binary));
    if (vmrun) rows["Skiff natively (vmrun)"] = parse(await piped(vmrun, command, binary));
    const names = Object.keys(rows["this computer"]);
    say("milliseconds", names.map((name) => name.padStart(9)).join(""));
    for (const [who, times] of Object.entries(rows)) {
      for (const name of names) {
        if (times[name]?.value !== rows["this computer"][name].value) throw new Error(`${who} computed another ${name}`);
      }
      say(`  ${who}`, names.map((name) => times[name].ms.toFixed(1).padStart(9)).join(""));
    }
    say("guest instructions a second in Chromium", `${run.mips.toFixed(0)} million`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function parse(text) {
  const lines = text.trim().split("\n").map((line) => line.split(" "));
  return Object.fromEntries(lines.map(([name, value, ms]) => [name, { value, ms: Number(ms) }]));
}

function piped(program, args, input) {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", 'exec "$@" < "$0"', input, program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (data) => (text += data));
    child.on("close", (status) => (status === 0 ? resolve(text) : reject(new Error(`status ${status}`))));
  });
}

/** The store of written pages by itself, a gigabyte of them, beside the shapes that were not chosen. */
async function overlay() {
  const context = await world.context();
  const page = await context.newPage();
  const source = await readFile(`${root}vm-client/browser/npm/overlay.js`, "utf8");
  await page.goto(world.server.url);
  const shapes = await readFile(new URL("bench/shapes.js", import.meta.url), "utf8");
  await page.addScriptTag({ type: "module", content: `${source}\nglobalThis.Pages = IndexedDbPages;` });
  await page.addScriptTag({ type: "module", content: shapes });
  await page.waitForFunction(() => globalThis.Pages && globalThis.shapes);
  for (const name of ["chosen", "no-index", "records-of-8"]) {
    const figures = await page.evaluate((which) => globalThis.shapes(which), name);
    for (const [what, figure] of figures) say(`overlay of 1 GB, ${name}: ${what}`, figure);
  }
}
