// Hours of mixed work, and whether memory stays flat:
// `node tests/soak/run.mjs --block-server FILE [--minutes N] [--only chromium|node] [--json FILE]`.
//
// Half of the time goes to shell work in a tab of Chromium, half to programs that press on tasks, memory, pipes and files in Node.

import { writeFile } from "node:fs/promises";

import { World, root, store, tabMemory } from "../browser/world.mjs";
import { PRESSURE, SHELL } from "./work.mjs";
import { Samples } from "./samples.mjs";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const minutes = Number(option("minutes", "120"));
const only = option("only");
const hosts = ["chromium", "node"].filter((name) => !only || name === only);
const figures = {};
for (const host of hosts) {
  const end = performance.now() + (minutes / hosts.length) * 60_000;
  figures[host] = await (host === "chromium" ? inChromium(end) : inNode(end));
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
  const { CloudDevice, Linux } = await import(`${root}vm-client/browser/npm/index.js`);
  const { imageUrl, inProcess } = await import(`${root}vm-client/browser/npm/node.js`);
  const dev = new CloudDevice(imageUrl(`${store}/debian`));
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: inProcess() });
  const samples = new Samples(end);
  const decoder = new TextDecoder();
  await samples.work(PRESSURE, async ([command, expected]) => {
    const { stdout, stderr, status } = await linux.run("/bin/bash", ["-c", command], { stdout: "pipe", stderr: "pipe", timeout: 300_000 });
    const output = decoder.decode(stdout);
    return status === 0 && expected.test(output) ? null : `${command}: ${status} ${output.slice(0, 200)} ${decoder.decode(stderr).slice(0, 200)}`;
  }, () => {
    globalThis.gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    return {
      process: rss / 1e6,
      heap: heapUsed / 1e6,
      external: external / 1e6,
      guest: (linux.stats?.memory ?? 0) / 1e6,
      tasks: linux.stats?.tasks ?? 0,
      overlay: (linux.stats?.overlayBytes ?? 0) / 1e6,
    };
  });
  await linux.delete();
  return samples.summary([]);
}
