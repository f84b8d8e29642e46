// What the guest's disk does, in Chromium: throughput of writes into the stored changes, fsync, many files, a tar archive.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { root } from "../world.mjs";

const execute = promisify(execFile);
const FULL = { WRITE_MIB: 400, FSYNCS: 300, INODES: 5000, CHURNS: 10, CHURN_MIB: 200, TAR_MB: 100 };
/** To see whether it works. */
const QUICK = { WRITE_MIB: 40, FSYNCS: 50, INODES: 500, CHURNS: 2, CHURN_MIB: 20, TAR_MB: 10 };

/** Measures, and returns figures by name. */
export async function measureDisk(world, { quick = false } = {}) {
  const { WRITE_MIB, FSYNCS, INODES, CHURNS, CHURN_MIB, TAR_MB } = quick ? QUICK : FULL;
  const folder = await mkdtemp(join(tmpdir(), "skiff-disk-"));
  try {
    const program = join(folder, "disk");
    await execute("gcc", ["-m32", "-static", "-O2", "-Wall", "-o", program, `${root}tests/browser/bench/disk.c`]);
    const tab = await world.shell();
    const put = (path, bytes, mode) =>
      tab.page.evaluate(
        async ([to, text, how]) => {
          const data = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
          await globalThis.skiff.fs.writeFile(to, data, { mode: how, flag: "a" });
        },
        [path, bytes.toString("base64"), mode],
      );
    await put("/root/disk", await readFile(program), 0o755);
    const run = async (...words) => {
      const { status, output, stats } = await tab.page.evaluate(runInPage, words);
      if (status !== 0) throw new Error(`${words.join(" ")}: status ${status}: ${output}`);
      return { text: output, stats };
    };
    const figures = {};

    const [written, stored] = (await run("/root/disk", "write", "/root/big", String(WRITE_MIB))).text.split(" ").map(Number);
    figures.write = { mib: WRITE_MIB, acceptedMBps: rate(WRITE_MIB, written), storedMBps: rate(WRITE_MIB, stored) };
    await run("/bin/rm", "/root/big");

    const waits = (await run("/root/disk", "fsync", "/root/log", String(FSYNCS))).text.trim().split("\n").map(Number).sort((a, b) => a - b);
    figures.fsync = { count: FSYNCS, medianMs: waits[FSYNCS >> 1], p95Ms: waits[Math.floor(FSYNCS * 0.95)], worstMs: waits.at(-1) };

    figures.inodes = { count: INODES, ms: Number((await run("/root/disk", "inodes", "/root/many", String(INODES))).text) };
    const begun = performance.now();
    const { text: listed } = await run("/bin/sh", "-c", "sync; ls /root/many | wc -l; find /root/many -type f | xargs cat | wc -c; python3 -c 'print(6*7)'");
    figures.inodes.programsAfterMs = Math.round(performance.now() - begun);
    if (listed.trim().split(/\s+/).join() !== `${INODES},${INODES * 100},42`) throw new Error(`after many files programs said ${listed}`);
    await run("/bin/rm", "-r", "/root/many");

    await run("/bin/sh", "-c", "sync");
    const before = await overlayBytes(tab);
    for (let round = 0; round < CHURNS; round += 1) await run("/bin/sh", "-c", `/root/disk write /root/big ${CHURN_MIB} && rm /root/big`);
    await run("/bin/sh", "-c", "sync");
    figures.churn = { rounds: CHURNS, mib: CHURN_MIB, overlayMBBefore: before / 1e6, overlayMBAfter: (await overlayBytes(tab)) / 1e6 };

    figures.tar = await unpack(TAR_MB, folder, put, run, tab);
    return figures;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a program in the page's machine, and adds up where time went meanwhile. */
async function runInPage([file, ...args]) {
  const { skiff } = globalThis;
  const busy = [];
  const note = ({ cpu }) => busy.push(cpu);
  const before = await skiff.profile();
  skiff.registerCallback("stats", note);
  const start = performance.now();
  const { status, stdout, stderr } = await skiff.run(file, args, { stdout: "pipe", stderr: "pipe" });
  const ms = performance.now() - start;
  skiff.unregisterCallback("stats", note);
  const after = await skiff.profile();
  const profile = {};
  for (const [name, value] of Object.entries(after)) {
    if (typeof value === "number" && value !== before[name]) profile[name] = value - (before[name] ?? 0);
  }
  const decoder = new TextDecoder();
  const share = busy.reduce((sum, one) => sum + one, 0) / Math.max(1, busy.length);
  return { status, output: decoder.decode(stdout) + decoder.decode(stderr), stats: { ms, busy: share, profile } };
}

/** Unpacks an archive of Debian's own files, beside reading it without writing anything. */
async function unpack(megabytes, folder, put, run, tab) {
  const archive = join(folder, "files.tar");
  await execute("sh", ["-c", `mkdir tree && tar -xf "$0" -C tree --no-same-owner ./usr/lib ./usr/share && tar -cf files.tar -C tree usr`, `${root}build/demo/root.tar`], { cwd: folder });
  const bytes = (await readFile(archive)).subarray(0, megabytes * 1e6);
  const piece = 4 << 20;
  for (let at = 0; at < bytes.length; at += piece) await put("/root/files.tar", bytes.subarray(at, at + piece), 0o644);
  await run("/bin/sh", "-c", "sync; mkdir /root/out");
  // The archive is cut off at its end, which tar says and survives.
  const tar = (words) => run("/bin/sh", "-c", `${words} 2>/dev/null; true`);
  const reading = (await tar("tar -xOf /root/files.tar > /dev/null")).stats;
  const unpacking = (await tar("tar -xf /root/files.tar -C /root/out")).stats;
  const syncing = (await run("/bin/sh", "-c", "sync")).stats;
  const { text } = await run("/bin/sh", "-c", "find /root/out -type f | wc -l; du -sm /root/out | cut -f1");
  const [files, mib] = text.trim().split(/\s+/).map(Number);
  return {
    files,
    mib,
    seconds: round(unpacking.ms / 1000),
    mbPerSecond: round(megabytes / (unpacking.ms / 1000)),
    syncAfterSeconds: round(syncing.ms / 1000),
    readOnlySeconds: round(reading.ms / 1000),
    engineBusy: round(unpacking.busy),
    profile: unpacking.profile,
    overlayMB: round((await overlayBytes(tab)) / 1e6),
  };
}

const overlayBytes = (tab) =>
  tab.page.evaluate(async () => {
    await globalThis.skiff.sync();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return globalThis.skiff.stats.overlayBytes;
  });

const rate = (mib, ms) => round((mib * 1.048576) / (ms / 1000));
const round = (value) => Math.round(value * 100) / 100;
