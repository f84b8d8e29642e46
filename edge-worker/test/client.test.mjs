// The real clients against the Worker: image-tools and vmrun with the native block client, and a deployment's own check.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";

import { root } from "../local.mjs";

/** Runs a program to its end; resolves with its status and what it printed. */
async function run(program, words, env = {}) {
  const child = spawn(program, words, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } });
  let printed = "";
  child.stdout.on("data", (data) => (printed += data));
  child.stderr.on("data", (data) => (printed += data));
  const [status] = await once(child, "close");
  return { status, printed };
}

export function tests(test, world) {
  const { store, vmrun, "image-tools": tools } = world.options;
  if (!store || !vmrun || !tools) return;

  for (const [how, vars, over] of [
    ["over WebSocket", { SOCKETS: "worker" }, /websocket/i],
    ["over a Durable Object", { SOCKETS: "object" }, /websocket/i],
    ["over HTTP alone", { SOCKETS: "off" }, /http/i],
  ]) {
    test(`the native client fetches a sample of the demo image ${how}`, async () => {
      const worker = await world.demo(vars);
      const { status, printed } = await run(tools, ["serve-check", "--sample", "60", `${worker.url}debian`]);
      assert.equal(status, 0, printed);
      assert.match(printed, over);
    }, { seconds: 240 });
  }

  test("a guest boots from the Worker, also while its sessions end by goaway", async () => {
    const worker = await world.demo({ SUBREQUESTS: "60", LOG: "json" });
    // With pauses: a client that was sent away goes on over HTTP until its next socket is open.
    const script = "cat /etc/hostname; for some in [a-c] [d-g] [h-p] [q-z]; do cat /usr/bin/$some* | head -c 3000000 | wc -c; sleep 1; done";
    const { status, printed } = await run(vmrun, ["--image", `${worker.url}debian`, "--", "/bin/sh", "-c", script]);
    assert.equal(status, 0, printed);
    assert.match(printed, /^skiff\n(3000000\n){4}$/m);
    const sessions = () => worker.log.join("").match(/"what":"session"/g) ?? [];
    // A session is reported when it is over.
    for (let tries = 0; tries < 50 && sessions().length < 2; tries += 1) await new Promise((resolve) => setTimeout(resolve, 100));
    assert.ok(sessions().length > 1, "one session was enough, so nothing was resumed");
  }, { seconds: 240 });

  test("a deployment's smoke test passes, and tells what is wrong with one that is not right", async () => {
    const worker = await world.demo();
    const good = await run(process.execPath, ["deploy/smoke.mjs", worker.url]);
    assert.equal(good.status, 0, good.printed);
    const bad = await run(process.execPath, ["deploy/smoke.mjs", worker.url, "--image", "nothing"]);
    assert.equal(bad.status, 1);
    assert.match(bad.printed, /WRONG the image nothing@latest/);
  }, { seconds: 240 });
}
