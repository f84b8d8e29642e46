// The WebSocket: both kinds of host for it, at two compatibility dates.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { NEWEST } from "../local.mjs";
import { Peer } from "./peer.mjs";
import { digest, objectKey } from "./store.mjs";

/** Before binary messages came as Blob, and before close frames were answered by the runtime. */
const OLDER = "2025-11-01";

const HOSTS = [
  ["in the Worker", { SOCKETS: "worker" }],
  ["in a Durable Object", { SOCKETS: "object" }],
];

export function tests(test, world) {
  for (const [where, vars] of HOSTS) {
    for (const date of [OLDER, NEWEST]) {
      test(`binary messages pass both ways ${where} at ${date}`, async () => {
        const [worker, store] = [await world.worker({ vars, date }), await world.store()];
        const peer = await Peer.open(worker.url, store.manifest);
        assert.equal(peer.socket.protocol, "vmdisk.v1");
        const found = await peer.fetch(1, store.chunks);
        for (const [hash, frame] of found) {
          assert.equal(frame.type, "block");
          assert.deepEqual(frame.envelope, await readFile(store.path(objectKey(hash))));
        }
        peer.ping(77);
        assert.deepEqual(await peer.next(), { type: "pong", value: 77n });
        peer.socket.close(1000, "done");
        const { code } = await peer.next();
        assert.equal(code, 1000);
      });
    }

    test(`what breaks the protocol ends the session with its code ${where}`, async () => {
      const [worker, store] = [await world.worker({ vars }), await world.store()];
      const refused = async (act, { hello = true } = {}) => {
        const peer = hello ? await Peer.open(worker.url, store.manifest) : await Peer.connect(worker.url);
        act(peer);
        const error = await peer.next();
        const closed = await peer.next();
        assert.equal(closed.type, "closed");
        return [error.code, closed.code];
      };
      assert.deepEqual(await refused((peer) => peer.socket.send("hello")), [1, 1002]);
      assert.deepEqual(await refused((peer) => peer.socket.send(Buffer.from([9, 9]))), [1, 1002]);
      assert.deepEqual(await refused((peer) => peer.socket.send(Buffer.alloc(5000, 2))), [9, 1009]);
      assert.deepEqual(await refused((peer) => peer.get(1, store.chunks.slice(0, 1)), { hello: false }), [1, 1002]);
      assert.deepEqual(await refused((peer) => peer.hello(digest(Buffer.from("x"))), { hello: false }), [5, 4404]);
      assert.deepEqual(await refused((peer) => peer.hello(store.manifest, { low: 2, high: 3 }), { hello: false }), [2, 4400]);
      assert.deepEqual(await refused((peer) => peer.hello(store.manifest, { token: "forged" }), { hello: false }), [3, 4401]);
    });

    test(`nothing is sent beyond the credit, and demand goes first ${where}`, async () => {
      const [worker, store] = [await world.worker({ vars }), await world.store()];
      const peer = await Peer.open(worker.url, store.manifest, { window: 1 });
      peer.get(1, store.chunks.slice(0, 20), { priority: 6 });
      // A window of one byte lets one object go, and no more.
      const first = await peer.next();
      assert.equal(first.type, "block");
      peer.ping(1);
      assert.equal((await peer.next()).type, "pong");
      peer.get(2, [store.chunks[30]]);
      peer.ping(2);
      assert.equal((await peer.next()).type, "pong");
      peer.credit(9 * first.envelope.length);
      // What had been read before, five objects at most, may go first.
      const order = [];
      for (let n = 0; n < 8; n += 1) order.push((await peer.next()).request);
      assert.ok(order.includes(2), `demand waited behind read-ahead: ${order}`);
      await peer.close();
    });

    test(`a silent connection is closed for want of HELLO ${where}`, async () => {
      const worker = await world.worker({ vars });
      const peer = await Peer.connect(worker.url);
      const closed = await peer.next();
      assert.deepEqual([closed.type, closed.code], ["closed", 4408]);
    });
  }

  test("an object sleeps while nothing is asked, and its session goes on", async () => {
    const [worker, store] = [await world.worker({ vars: { SOCKETS: "object", LOG: "json" } }), await world.store()];
    const peer = await Peer.open(worker.url, store.manifest, { window: 400_000 });
    await peer.fetch(1, store.chunks.slice(0, 2));
    // The runtime puts an idle object to sleep after ten seconds.
    await new Promise((resolve) => setTimeout(resolve, 13_000));
    const found = await peer.fetch(2, store.chunks.slice(2, 4));
    assert.ok([...found.values()].every(({ type }) => type === "block"));
    assert.ok(worker.log.some((line) => line.includes('"woken"')), "it never slept");
    await peer.close();
  }, { seconds: 60 });

  test("upgrades are refused to wrong origins, protocols and plain requests", async () => {
    const worker = await world.worker({ vars: { ALLOW_ORIGINS: "https://good.example" } });
    const store = await world.store();
    const status = (options) => Peer.connect(worker.url, options).then(() => 101, (error) => error.status);
    assert.equal(await status({ headers: { origin: "https://bad.example" } }), 403);
    assert.equal(await status({ protocol: "vmdisk.v9" }), 400);
    assert.equal(await status({ protocol: "VMDISK.v1" }), 400);
    assert.equal(await status({ protocol: "" }), 400);
    assert.equal((await fetch(`${worker.url}v1/ws`)).status, 426);
    const peer = await Peer.open(worker.url, store.manifest, { headers: { origin: "https://good.example" } });
    await peer.close();
    await worker.restart({ SOCKETS: "off" });
    assert.equal(await status({}), 501);
  });

  test("more sessions than an isolate holds are turned away, and seats are given back", async () => {
    const [worker, store] = [await world.worker({ vars: { MAX_SESSIONS: "3" } }), await world.store()];
    const peers = [];
    for (let n = 0; n < 3; n += 1) peers.push(await Peer.open(worker.url, store.manifest));
    assert.equal(await Peer.connect(worker.url).catch((error) => error.status), 503);
    assert.ok(peers[2].welcome.windowMax <= peers[0].welcome.windowMax);
    await peers[0].close();
    const again = await Peer.open(worker.url, store.manifest);
    await Promise.all([...peers.slice(1), again].map((peer) => peer.close()));
  });
}
