// Memory, Cache API, bucket: what is found where, what is damaged, and what an invocation may spend.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { Peer } from "./peer.mjs";
import { digest, envelope, objectKey } from "./store.mjs";

const [MEMORY, CACHE, ORIGIN] = [0, 1, 2];

export function tests(test, world) {
  const open = async (worker, options) => Peer.open(worker.url, (await world.store()).manifest, options);
  const tierOf = async (peer, request, hash, options) => {
    const frame = (await peer.fetch(request, [hash], options)).get(hash);
    return frame.type === "block" ? frame.tier : `error ${frame.code}`;
  };
  const settled = async (worker, key) => {
    for (let tries = 0; (await worker.cached(key)) === null; tries += 1) {
      assert.ok(tries < 200, `${key} never got into the cache`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };

  test("an object comes from the bucket, then from memory, and after a restart from the cache", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    const hash = store.chunks[0];
    let peer = await open(worker);
    assert.equal(await tierOf(peer, 1, hash), ORIGIN);
    assert.equal(await tierOf(peer, 2, hash), MEMORY);
    await settled(worker, objectKey(hash));
    await peer.close();
    await worker.restart();
    peer = await open(worker);
    assert.equal(await tierOf(peer, 1, hash), CACHE);
    assert.equal(await tierOf(peer, 2, hash), MEMORY);
    await peer.close();
  });

  test("memory is bounded: what is not used lately goes", async () => {
    const store = await world.newStore({ count: 30, size: 128 * 1024 });
    const worker = await world.worker({ store: store.folder, vars: { MEMORY_MIB: "2", CACHE_API: "off" } });
    const peer = await Peer.open(worker.url, store.manifest);
    for (const [n, hash] of store.chunks.entries()) {
      assert.equal(await tierOf(peer, n + 1, hash), ORIGIN);
      // The first is kept in use.
      assert.equal(await tierOf(peer, n + 1000, store.chunks[0]), n === 0 ? MEMORY : MEMORY);
    }
    assert.equal(await tierOf(peer, 5000, store.chunks[1]), ORIGIN);
    assert.equal(await tierOf(peer, 5001, store.chunks[29]), MEMORY);
    await peer.close();
  });

  test("a damaged entry of the cache is a miss: the right object comes, and replaces it", async () => {
    const [worker, store] = [await world.worker({ vars: { LOG: "json" } }), await world.store()];
    const [damaged, torn, other] = store.chunks;
    const right = await readFile(store.path(objectKey(damaged)));
    const wrong = Buffer.from(right);
    wrong[1000] ^= 1;
    await worker.poison(objectKey(damaged), wrong);
    await worker.poison(objectKey(torn), right.subarray(0, 5000));
    await worker.poison(objectKey(other), await readFile(store.path(objectKey(store.chunks[9]))));
    const peer = await open(worker);
    const found = await peer.fetch(1, [damaged, torn, other]);
    for (const [hash, frame] of found) {
      assert.equal(frame.tier, ORIGIN);
      assert.deepEqual(frame.envelope, await readFile(store.path(objectKey(hash))));
    }
    await peer.close();
    for (let tries = 0; (await worker.cached(objectKey(torn))) !== right.length && tries < 200; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await worker.restart();
    const again = await open(worker);
    assert.equal(await tierOf(again, 1, torn), CACHE);
    await again.close();
    assert.ok(worker.log.some((line) => /"wrong_cache":3/.test(line)), worker.log.join(""));
  });

  test("a damaged or absent object of the bucket is an error that nobody keeps", async () => {
    const store = await world.newStore({ count: 3 });
    const worker = await world.worker({ store: store.folder });
    const [damaged, absent] = store.chunks;
    const right = await readFile(store.path(objectKey(damaged)));
    await worker.put(objectKey(damaged), Buffer.concat([right.subarray(0, 500), Buffer.alloc(8), right.subarray(508)]));
    await worker.delete(objectKey(absent));
    const peer = await Peer.open(worker.url, store.manifest);
    assert.equal(await tierOf(peer, 1, damaged), "error 8");
    assert.equal(await tierOf(peer, 2, absent), "error 5");
    assert.equal((await fetch(`${worker.url}v1/o/${damaged}`)).status, 500);
    assert.equal((await fetch(`${worker.url}v1/o/${absent}`)).status, 404);
    assert.equal(await worker.cached(objectKey(damaged)), null);
    // Mended and there, they are served at once.
    await worker.put(objectKey(damaged), right);
    await worker.put(objectKey(absent), await readFile(store.path(objectKey(absent))));
    assert.equal(await tierOf(peer, 3, damaged), ORIGIN);
    assert.equal((await fetch(`${worker.url}v1/o/${absent}`)).status, 200);
    await peer.close();
  });

  test("an object larger than any is refused, not read", async () => {
    const store = await world.newStore({ count: 1 });
    const worker = await world.worker({ store: store.folder });
    const large = Buffer.alloc(2 << 20, 5);
    await worker.put(objectKey(digest(large)), envelope(large));
    assert.equal((await fetch(`${worker.url}v1/o/${digest(large)}`)).status, 500);
  });

  test("FRESH reads the bucket past memory and cache, and puts it back", async () => {
    const [worker, store] = [await world.worker({ vars: { LOG: "json" } }), await world.store()];
    const hash = store.chunks[3];
    const peer = await open(worker);
    assert.equal(await tierOf(peer, 1, hash), ORIGIN);
    assert.equal(await tierOf(peer, 2, hash), MEMORY);
    await settled(worker, objectKey(hash));
    await worker.poison(objectKey(hash), Buffer.from("damaged"));
    assert.equal(await tierOf(peer, 3, hash, { fresh: true }), ORIGIN);
    assert.equal(await tierOf(peer, 4, hash), MEMORY);
    const reloaded = await fetch(`${worker.url}v1/o/${hash}`, { headers: { "cache-control": "no-cache" } });
    assert.equal(reloaded.status, 200);
    await peer.close();
    assert.ok(worker.log.some((line) => /"fresh":1.*"wrong_cache":1/.test(line)), worker.log.join(""));
  });

  test("FRESH is rationed: beyond its allowance it is refused, and other reads are not", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    const peer = await open(worker);
    const tiers = [];
    while (!tiers.includes("error 6") && tiers.length < 5000) {
      tiers.push(await tierOf(peer, tiers.length + 1, store.chunks[5], { fresh: true }));
    }
    assert.ok(tiers.length > 200, `${tiers.length} were enough`);
    assert.ok(tiers.slice(0, -1).every((tier) => tier === ORIGIN), tiers.join());
    assert.equal(tiers.at(-1), "error 6");
    assert.equal(await tierOf(peer, 9000, store.chunks[5]), MEMORY);
    let refused;
    for (let n = 0; n < 300 && refused?.status !== 429; n += 1) {
      refused = await fetch(`${worker.url}v1/o/${store.chunks[5]}`, { headers: { "cache-control": "no-cache" } });
      await refused.arrayBuffer();
    }
    assert.ok(refused.status === 429 && Number(refused.headers.get("retry-after")) >= 1);
    assert.equal((await fetch(`${worker.url}v1/o/${store.chunks[5]}`)).status, 200);
    await peer.close();
  });

  test("a session ends by goaway before its budget does, and everything comes over the next ones", async () => {
    const store = await world.newStore({ count: 130, size: 4096 });
    const worker = await world.worker({ store: store.folder, vars: { SUBREQUESTS: "100", LOG: "json" } });
    const left = new Set(store.chunks);
    let sessions = 0;
    let request = 0;
    while (left.size) {
      sessions += 1;
      assert.ok(sessions < 40, "the sessions bring nothing");
      const peer = await Peer.open(worker.url, store.manifest);
      assert.ok(peer.welcome.budget > 0 && peer.welcome.budget <= 100);
      const hashes = [...left];
      for (let at = 0; at < hashes.length; at += 50) peer.get((request += 1), hashes.slice(at, at + 50));
      let goaway = null;
      for (;;) {
        const frame = await peer.next();
        if (frame.type === "goaway") goaway = frame;
        if (frame.type === "block") {
          assert.equal(frame.envelope.length, 4096 + 8);
          const hash = digest(frame.envelope.subarray(8));
          assert.ok(left.delete(hash), "an object came twice");
          peer.credit(frame.envelope.length);
        }
        if (frame.type === "closed") {
          assert.equal(frame.code, 1001);
          break;
        }
        if (!left.size) {
          await peer.close();
          break;
        }
      }
      if (left.size) assert.equal(goaway?.reason, 2, "the session ended without a word");
    }
    assert.ok(sessions > 2, `${sessions} sessions for 130 objects`);
    const lines = worker.log.join("").split("\n").filter((line) => line.includes('"what":"session"')).map((line) => JSON.parse(line.slice(line.indexOf("{"))));
    assert.ok(lines.length >= sessions - 1);
    for (const { subrequests, subrequests_at_once: atOnce } of lines) {
      assert.ok(subrequests <= 100, `${subrequests} subrequests`);
      assert.ok(atOnce <= 5, `${atOnce} at once`);
    }
  }, { seconds: 240 });

  test("the free plan's account is enough for each request by itself", async () => {
    const store = await world.store();
    const worker = await world.worker({ vars: { PLAN: "free", LOG: "json" } });
    for (const hash of store.chunks.slice(0, 5)) {
      assert.equal((await fetch(`${worker.url}v1/o/${hash}`)).status, 200);
    }
    assert.equal(await Peer.connect(worker.url).catch((error) => error.status), 501);
  });
}
