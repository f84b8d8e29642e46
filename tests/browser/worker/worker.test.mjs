// The page and its disk from the Worker, in the runtime that Cloudflare has.

import assert from "node:assert/strict";

import { LocalWorker } from "../../../edge-worker/local.mjs";
import { site, store, until } from "../world.mjs";

export function tests(test, world) {
  let shared;
  /** The Worker over the demo image, with these settings; all tests share its bucket, which takes long to fill. */
  async function start(vars) {
    if (!shared) {
      shared = await LocalWorker.start({ store, site });
      world.deferToTheEnd(() => shared.stop());
    }
    await shared.become(vars);
    return shared;
  }

  for (const [how, vars] of [
    ["by the Worker", { SOCKETS: "worker" }],
    ["by Durable Objects", { SOCKETS: "object" }],
    ["over HTTP alone", { SOCKETS: "off" }],
    ["with sessions that end by goaway", { SOCKETS: "worker", SUBREQUESTS: "40" }],
  ]) {
    test(`a tab boots to a prompt from the Worker, sockets served ${how}`, async () => {
      const worker = await start(vars);
      const tab = await world.shell({ url: worker.url });
      assert.equal((await tab.run("cat /etc/hostname")).output, "skiff");
      const { output } = await tab.run("cat /usr/bin/perl | md5sum", 60_000);
      assert.match(output, /^[0-9a-f]{32}/);
      assert.doesNotMatch(output, /^d41d8cd98f00b204/, "nothing was read");
      assert.deepEqual(tab.errors, []);
    }, { seconds: 180 });
  }

  test("a page elsewhere uses a disk of the Worker, even when its cache is damaged", async () => {
    const worker = await start({ LOG: "json" });
    const wrong = Buffer.from("damaged");
    for (const key of (await worker.keys()).filter((key) => key.startsWith("o/")).slice(0, 2000)) await worker.poison(key, wrong);
    const tab = await world.shell({ url: `${world.server.url}?image=${worker.url}debian` });
    assert.equal((await tab.run("cat /etc/hostname")).output, "skiff");
    await until(() => worker.log.join("").includes('"wrong_cache"'), "a report");
  }, { seconds: 240 });
}
