// Points for Analytics Engine, by a binding of ours that writes them down: workerd has none, and miniflare's drops them.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { Peer } from "./peer.mjs";
import { digest, objectKey } from "./store.mjs";

/** Where the README has what each double is. */
const [STATUS, OBJECTS, BYTES, MEMORY, CACHE, STORE] = [0, 3, 4, 5, 6, 7];

export function tests(test, world) {
  test("each request and session is a point for Analytics Engine, with the columns that the README lists", async () => {
    const [worker, store] = [await world.worker({ metrics: true }), await world.store()];
    const stored = await readFile(store.path(objectKey(store.chunks[0])));
    const absent = digest(Buffer.from("absent"));
    const found = [];
    for (const hash of [store.chunks[0], store.chunks[0], absent]) {
      found.push((await fetch(`${worker.url}v1/o/${hash}`)).status);
      await points(worker, found.length);
    }
    assert.deepEqual(found, [200, 200, 404]);
    const peer = await Peer.open(worker.url, store.manifest);
    await peer.fetch(1, [store.chunks[1]]);
    await peer.close();
    const all = await points(worker, 4);
    assert.deepEqual(all.map(({ indexes }) => indexes), [["object"], ["object"], ["object"], ["session"]]);
    for (const { indexes, blobs, doubles } of all) {
      assert.deepEqual(blobs, indexes);
      assert.equal(doubles.length, 14);
      assert.ok(doubles.every((number) => Number.isFinite(number)), JSON.stringify(doubles));
    }
    const columns = (point) => [STATUS, OBJECTS, BYTES, MEMORY, CACHE, STORE].map((column) => point.doubles[column]);
    assert.deepEqual(columns(all[0]), [200, 1, stored.length, 0, 0, 1]);
    assert.deepEqual(columns(all[1]), [200, 1, stored.length, 1, 0, 0]);
    assert.deepEqual(columns(all[2]).slice(0, 3), [404, 0, 0]);
    assert.equal(all[3].doubles[OBJECTS], 1);
  });

  test("a deployment without the data set serves as well", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    assert.equal((await fetch(`${worker.url}v1/o/${store.chunks[0]}`)).status, 200);
    assert.ok(!worker.log.some((line) => /Analytics|METRICS/.test(line)), worker.log.join(""));
  });
}

/** The points so far, as soon as there are that many. */
async function points(worker, count) {
  for (let tries = 0; tries < 100; tries += 1) {
    const lines = worker.log.join("").split("\n").filter((line) => line.startsWith("point: "));
    if (lines.length >= count) return lines.map((line) => JSON.parse(line.slice("point: ".length)));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`fewer than ${count} points: ${worker.log.join("")}`);
}
