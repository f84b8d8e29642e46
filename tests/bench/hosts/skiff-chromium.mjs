// Skiff in a tab: the page of the demo, one machine for all rows, programs started with `skiff.run`.

import { BlockServer } from "../../browser/world.mjs";

export const title = "Skiff, Chromium";

const ENV = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C"];

export async function start({ store, browser, blockServer, patienceMs }) {
  const server = await BlockServer.start(blockServer, store);
  const context = await browser.newContext({ viewport: { width: 1000, height: 620 } });
  const page = await context.newPage();
  await page.goto(`${server.url}?image=./bench`);
  await page.waitForFunction(() => globalThis.skiff, undefined, { timeout: 60_000 });
  return {
    version: `Chromium ${browser.version()}`,
    async run(command) {
      const { status, stdout, stderr } = await page.evaluate(
        async ([[file, ...args], env, timeout]) => {
          const text = (bytes) => new TextDecoder().decode(bytes);
          const done = await globalThis.skiff.run(file, args, { env, stdout: "pipe", stderr: "pipe", timeout });
          return { status: done.status, stdout: text(done.stdout), stderr: text(done.stderr) };
        },
        [command, ENV, patienceMs],
      );
      if (status !== 0) throw new Error(`status ${status}: ${stderr.trim().split("\n").at(-1)}`);
      return stdout;
    },
    /** Counters of the machine, for the report. */
    figures: () => page.evaluate(async () => ({ stats: globalThis.skiff.stats, profile: await globalThis.skiff.profile?.() })),
    async stop() {
      await context.close();
      await server.stop();
    },
  };
}
