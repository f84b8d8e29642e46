// Objects, tags and errors over HTTP.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { getFrame, parse } from "./peer.mjs";
import { digest, objectKey } from "./store.mjs";

export function tests(test, world) {
  test("objects are immutable, embeddable and have the hash of their stored bytes as ETag", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    const stored = await readFile(store.path(objectKey(store.chunks[0])));
    for (const path of [`v1/o/${store.chunks[0]}`, objectKey(store.chunks[0])]) {
      const reply = await fetch(worker.url + path);
      assert.equal(reply.status, 200);
      assert.deepEqual(Buffer.from(await reply.arrayBuffer()), stored);
      assert.equal(reply.headers.get("etag"), `"${digest(stored)}"`);
      assert.equal(reply.headers.get("cache-control"), "public, max-age=31536000, immutable, no-transform");
      assert.equal(reply.headers.get("content-type"), "application/vnd.vmdisk.object");
      assert.equal(reply.headers.get("content-encoding"), null);
      assert.equal(reply.headers.get("cross-origin-resource-policy"), "cross-origin");
      assert.equal(reply.headers.get("access-control-allow-origin"), "*");
      assert.equal(reply.headers.get("x-content-type-options"), "nosniff");
    }
  });

  test("HEAD, ranges and validators are as RFC 9110 has them", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    const url = `${worker.url}v1/o/${store.chunks[1]}`;
    const stored = await readFile(store.path(objectKey(store.chunks[1])));
    const etag = `"${digest(stored)}"`;
    const head = await fetch(url, { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("content-length")], [200, String(stored.length)]);
    assert.equal((await head.arrayBuffer()).byteLength, 0);
    for (const [range, first, end] of [["bytes=0-99", 0, 100], ["bytes=131000-", 131_000, stored.length], ["bytes=-8", stored.length - 8, stored.length]]) {
      const part = await fetch(url, { headers: { range } });
      assert.equal(part.status, 206, range);
      assert.equal(part.headers.get("content-range"), `bytes ${first}-${end - 1}/${stored.length}`);
      assert.deepEqual(Buffer.from(await part.arrayBuffer()), stored.subarray(first, end));
    }
    const beyond = await fetch(url, { headers: { range: "bytes=9999999-" } });
    assert.deepEqual([beyond.status, beyond.headers.get("content-range")], [416, `bytes */${stored.length}`]);
    assert.equal((await fetch(url, { headers: { "if-none-match": `"x", W/${etag}` } })).status, 304);
    assert.equal((await fetch(url, { headers: { range: "bytes=0-9", "if-range": '"other"' } })).status, 200);
  });

  test("a tag is its record, short-lived, under both its paths", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    for (const path of ["v1/images/demo/tags/latest", "t/demo/latest.json"]) {
      const reply = await fetch(worker.url + path);
      assert.equal(reply.headers.get("cache-control"), "public, max-age=60");
      assert.equal(await reply.text(), store.record);
    }
    // A tag that moves is seen at once: the record is kept nowhere in the Worker.
    const moved = { ...JSON.parse(store.record), created: 9 };
    await worker.put("t/demo/latest.json", JSON.stringify(moved));
    assert.equal((await (await fetch(`${worker.url}t/demo/latest.json`)).json()).created, 9);
  });

  test("what is not there or not spelt right is an error in words, and tricks find nothing", async () => {
    const worker = await world.worker();
    const absent = digest(Buffer.from("absent"));
    const paths = [`v1/o/${absent}`, objectKey(absent), `v1/o/${absent.toUpperCase()}`, "v1/o/12", "t/demo/other.json", "t/..%2f/x.json", "o/../../etc/passwd", `o/zz/${absent}`, "nothing"];
    for (const path of paths) {
      const reply = await fetch(worker.url + path);
      assert.equal(reply.status, 404, path);
      assert.equal(reply.headers.get("content-type"), "application/problem+json");
      assert.equal(reply.headers.get("cache-control"), "no-store");
      assert.equal((await reply.json()).status, 404);
    }
    const post = await fetch(`${worker.url}v1/o/${absent}`, { method: "POST", body: "x" });
    assert.deepEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
  });

  test("a batch brings many objects in one answer, each once, absent ones as errors", async () => {
    const [worker, store] = [await world.worker(), await world.store()];
    const absent = digest(Buffer.from("absent"));
    const hashes = [...store.chunks.slice(0, 30), absent];
    const reply = await fetch(`${worker.url}v1/batch`, { method: "POST", body: getFrame(1, hashes).subarray(8) });
    assert.deepEqual([reply.status, reply.headers.get("content-type")], [200, "application/vnd.vmdisk.frames"]);
    const body = Buffer.from(await reply.arrayBuffer());
    const found = new Map();
    let lasts = 0;
    for (let at = 0; at < body.length; ) {
      const length = body.readUInt32LE(at);
      const frame = parse(body.subarray(at + 4, at + 4 + length));
      at += 4 + length;
      assert.equal(frame.request, 1);
      lasts += frame.last ? 1 : 0;
      found.set(hashes[frame.index], frame);
    }
    assert.equal(found.size, hashes.length);
    for (const hash of store.chunks.slice(0, 30)) {
      assert.deepEqual(found.get(hash).envelope, await readFile(store.path(objectKey(hash))));
    }
    assert.deepEqual([found.get(absent).type, found.get(absent).code], ["error", 5]);
    assert.ok(lasts <= 1);
    for (const body of ["", "x", getFrame(1, store.chunks.slice(0, 2))]) {
      assert.equal((await fetch(`${worker.url}v1/batch`, { method: "POST", body })).status, 400);
    }
    const long = await fetch(`${worker.url}v1/batch`, { method: "POST", body: Buffer.alloc(1 << 20) });
    assert.equal(long.status, 413);
  });

  test("pages of other origins may not use a store with an allow-list", async () => {
    const worker = await world.worker({ vars: { ALLOW_ORIGINS: "https://good.example" } });
    const store = await world.store();
    const from = (origin) => fetch(`${worker.url}v1/o/${store.chunks[0]}`, { headers: { origin } });
    const [good, bad] = [await from("https://good.example"), await from("https://bad.example")];
    assert.equal(good.headers.get("access-control-allow-origin"), "https://good.example");
    assert.equal(bad.headers.get("access-control-allow-origin"), null);
    assert.match(good.headers.get("vary"), /origin/i);
    const asked = await fetch(`${worker.url}v1/batch`, { method: "OPTIONS", headers: { origin: "https://good.example" } });
    assert.equal(asked.status, 204);
    assert.match(asked.headers.get("access-control-allow-methods"), /POST/);
  });

  test("the Worker answers whether it is there, and says in its log what is set up wrong", async () => {
    const worker = await world.worker();
    assert.equal(await (await fetch(`${worker.url}healthz`)).text(), "ok\n");
    await worker.restart({ SOCKETS: "perhaps" });
    const reply = await fetch(`${worker.url}healthz`);
    assert.equal(reply.status, 500);
    assert.match((await reply.json()).detail, /log/);
    assert.ok(worker.log.some((line) => /SOCKETS is "perhaps"/.test(line)), worker.log.join(""));
  });

  test("static assets serve page and store, without R2", async () => {
    const store = await world.newStore({ count: 4 });
    await store.write("index.html", "<!doctype html>the page");
    const worker = await world.worker({ store: store.folder, kind: "assets" });
    const reply = await fetch(`${worker.url}v1/o/${store.chunks[2]}`);
    assert.equal(reply.status, 200);
    assert.deepEqual(Buffer.from(await reply.arrayBuffer()), await readFile(store.path(objectKey(store.chunks[2]))));
    assert.match(reply.headers.get("cache-control"), /immutable/);
    assert.equal(await (await fetch(`${worker.url}t/demo/latest.json`)).text(), store.record);
    assert.match(await (await fetch(worker.url)).text(), /the page/);
    const absent = digest(Buffer.from("absent"));
    assert.equal((await fetch(`${worker.url}v1/o/${absent}`)).status, 404);
  });
}
