// Hours of mixed work, and whether memory stays flat:
// `node tests/soak/run.mjs --block-server FILE [--minutes N] [--only chromium|node|code|stress] [--image STORE/NAME] [--json FILE]`.
//
// Half of the time goes to shell work in a tab of Chromium, half to programs that press on tasks, memory, pipes and files in Node.
// `--only code` runs in Node code that is never the same (compilers, node, python3, as far as the image has them), `--only stress`
// the stressors of stress-ng, which the image must have (that of the transcripts' set `suites` has).

import { writeFile } from "node:fs/promises";

import { World, root, store, tabMemory } from "../browser/world.mjs";
import { CODE, PRESSURE, SHELL, STRESS } from "./work.mjs";
import { Samples } from "./samples.mjs";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const minutes = Number(option("minutes", "120"));
const only = option("only");
const KINDS = { chromium: inChromium, node: inNode, code: codeInNode, stress: stressInNode };
if (only && !KINDS[only]) throw new Error(`there is no ${only}; there are ${Object.keys(KINDS).join(", ")}`);
const hosts = only ? [only] : ["chromium", "node"];
const figures = {};
for (const host of hosts) {
  const end = performance.now() + (minutes / hosts.length) * 60_000;
  figures[host] = await KINDS[host](end);
  console.log(`${host}: ${JSON.stringify(figures[host])}`);
}
if (option("json")) await writeFile(option("json"), JSON.stringify({ minutes, ...figures }, null, 1));
process.exit(Object.values(figures).every(({ flat, wrong }) => flat && wrong.length === 0) ? 0 : 1);

async function inChromium(end) {
  const world = await World.start(option("block-server"));
  const samples = new Samples(end);
  try {
    const tab = await world.shell();
    await samples.work(SHELL, async ([command, expected]) => {
      const { output } = await tab.run(command, 300_000);
      return expected.test(output) ? null : `${command}: ${output.slice(0, 300)}`;
    }, async () => {
      const page = await tab.page.evaluate(() => ({
        guest: globalThis.skiff.stats.memory / 1e6,
        tasks: globalThis.skiff.stats.tasks,
        overlay: globalThis.skiff.stats.overlayBytes / 1e6,
        heap: (performance.memory?.usedJSHeapSize ?? 0) / 1e6,
      }));
      // The screen's history is the terminal's and bounded; it is emptied so that it does not hide a leak.
      await tab.page.evaluate(() => globalThis.skiff.terminal.clear());
      return { process: await tabMemory(tab), ...page };
    });
    return samples.summary(tab.errors.map(({ message }) => message));
  } finally {
    await world.afterTest();
    await world.stop();
  }
}

async function inNode(end) {
  return worked(end, PRESSURE);
}

async function codeInNode(end) {
  return worked(end, async (sh) => {
    const there = await Promise.all(CODE.map(async ([needs]) => (await sh(`command -v ${needs}`)).status === 0));
    const left = CODE.filter((_, at) => !there[at]).map(([needs]) => needs);
    if (left.length === CODE.length) throw new Error(`the image has none of ${left.join(", ")}`);
    if (left.length) console.log(`the image has no ${left.join(", ")}`);
    return CODE.filter((_, at) => there[at]).map(([, command, expected]) => [command, expected]);
  });
}

async function stressInNode(end) {
  return worked(end, async (sh) => {
    if ((await sh("command -v stress-ng")).status !== 0) throw new Error("the image has no stress-ng");
    return STRESS;
  });
}

/** Runs commands in a machine of Node; `jobs` are they or are found out with it. */
async function worked(end, jobs) {
  const { CloudDevice, Linux } = await import(`${root}vm-client/browser/npm/index.js`);
  const { imageUrl, inProcess } = await import(`${root}vm-client/browser/npm/node.js`);
  const dev = new CloudDevice(imageUrl(option("image", `${store}/debian`)));
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: inProcess() });
  const samples = new Samples(end);
  const decoder = new TextDecoder();
  const sh = async (command) => {
    const { stdout, stderr, status } = await linux.run("/bin/bash", ["-c", command], { stdout: "pipe", stderr: "pipe", timeout: 300_000 });
    return { output: decoder.decode(stdout), errors: decoder.decode(stderr), status };
  };
  const list = typeof jobs === "function" ? await jobs(sh) : jobs;
  await samples.work(list, async ([command, expected], round) => {
    const text = typeof command === "function" ? command(round) : command;
    const { output, errors, status } = await sh(text);
    return status === 0 && expected.test(output) ? null : `${text.slice(0, 100)}: ${status} ${output.slice(-400)} ${errors.slice(0, 200)}`;
  }, async () => {
    globalThis.gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    const counts = await linux.profile();
    const kernel = await sh("sync; read -r files rest < /proc/sys/fs/file-nr; echo $files; sed -nE 's/^(MemTotal|MemAvailable|Shmem): *([0-9]+) kB/\\2/p' /proc/meminfo");
    const [files, total, available, shared] = kernel.output.split(/\s+/).map(Number);
    return {
      process: rss / 1e6,
      heap: heapUsed / 1e6,
      external: external / 1e6,
      guest: (linux.stats?.memory ?? 0) / 1e6,
      tasks: linux.stats?.tasks ?? 0,
      // Open files, and frames that hold neither nothing nor a copy of a file, seen from within.
      files,
      frames: (total - available) / 4,
      shared: shared / 4,
      overlay: (linux.stats?.overlayBytes ?? 0) / 1e6,
      compiled: counts["regions compiled"] ?? 0,
      evicted: counts["regions evicted"] ?? 0,
      modules: counts.modules ?? 0,
    };
  });
  await linux.delete();
  return samples.summary([]);
}
