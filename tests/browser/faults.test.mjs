// A network that fails in every way at random, and a guest that only waits.

import assert from "node:assert/strict";

import { filesOf } from "../faults/golden.mjs";
import { readInTab } from "../faults/guests.mjs";
import { FaultProxy, OUTAGES } from "../faults/proxy.mjs";
import { root, sleep, until } from "./world.mjs";

/** The seed of the whole test; the same faults meet the same messages as far as their order is the same. */
const SEED = 4;
const FILES = 40;

export function tests(test, world) {
  test("a guest behind a failing network reads every byte right, and goes on after each outage", async () => {
    const files = (await filesOf(`${root}build/demo/root.tar`, "./usr/lib/python3.11")).filter(({ size }) => size > 30_000);
    const proxy = await FaultProxy.start(world.server.port, { seed: SEED });
    world.defer(() => proxy.stop());
    const tab = await world.shell({ url: proxy.url });
    const chosen = proxy.random.shuffled(files).slice(0, FILES);
    const reading = readInTab(tab.page, chosen);
    for (const mode of OUTAGES) {
      const before = await tab.page.evaluate(() => globalThis.filesRead ?? 0);
      proxy.outage(mode);
      await sleep(1500);
      proxy.restore();
      await until(async () => (await tab.page.evaluate(() => globalThis.filesRead)) > before, `the guest to go on after ${mode}`);
    }
    assert.deepEqual(await reading, []);
    const stats = await until(async () => {
      const stats = await tab.page.evaluate(() => globalThis.skiff.stats);
      return stats.damaged > 0 && stats;
    }, "damage to be counted");
    assert.ok(proxy.counts.objects > 0 && stats.damaged <= proxy.counts.corrupt + proxy.counts.truncate, JSON.stringify({ stats, ...proxy.counts }));
    assert.deepEqual((await tab.banners()).filter((words) => !/server/.test(words)), []);
  }, { seconds: 120 });
}
