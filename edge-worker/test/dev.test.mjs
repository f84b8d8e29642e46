// What `cargo xtask worker dev` starts: wrangler with `deploy/wrangler.toml`, over a local bucket that `seed.mjs` has filled.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { root } from "../local.mjs";
import { objectKey } from "./store.mjs";

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  return port;
}

export function tests(test, world) {
  test("wrangler dev serves page and store out of a seeded local bucket", async () => {
    const store = await world.store();
    const state = await mkdtemp(join(tmpdir(), "skiff-wrangler-"));
    world.defer(() => rm(state, { recursive: true, force: true }));
    const port = await freePort();
    for (const round of [1, 2]) {
      const seed = spawn(process.execPath, ["edge-worker/seed.mjs", "--store", store.folder, "--state", state], { cwd: root });
      const [[words], [status]] = await Promise.all([once(seed.stdout.setEncoding("utf8"), "data"), once(seed, "close")]);
      assert.equal(status, 0);
      // The second time only the tag.
      assert.match(words, new RegExp(`^${round === 1 ? store.chunks.length + 2 : 1} of `), words);
    }
    const words = ["--config", "deploy/wrangler.toml", "dev", "--ip", "127.0.0.1", "--port", port, "--persist-to", state];
    const vars = { WRANGLER_SEND_METRICS: "false", CI: "true", NO_UPDATE_NOTIFIER: "1", SKIFF_WORKER_IS_BUILT: "1" };
    const wrangler = spawn(process.execPath, ["edge-worker/node_modules/wrangler/bin/wrangler.js", ...words.map(String)], {
      cwd: root,
      env: { ...process.env, ...vars },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    for (const stream of [wrangler.stdout, wrangler.stderr]) stream.on("data", (data) => (printed += data));
    world.defer(async () => {
      const gone = once(wrangler, "exit");
      wrangler.kill("SIGTERM");
      await gone;
    });
    const url = `http://127.0.0.1:${port}/`;
    while (!(await fetch(`${url}healthz`).then(({ ok }) => ok, () => false))) {
      assert.equal(wrangler.exitCode, null, printed);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(await (await fetch(`${url}t/demo/latest.json`)).text(), store.record);
    const found = await fetch(url + objectKey(store.chunks[3]));
    assert.deepEqual([found.status, (await found.arrayBuffer()).byteLength], [200, 131_080]);
    assert.match(await (await fetch(url)).text(), /Skiff/);
  }, { seconds: 120 });
}
