// Private images: parts of the store that only tokens open. Tokens are made by hand, as block-proto's README has them.

import assert from "node:assert/strict";

import { createKeyed } from "blake3-wasm";
import * as blake3 from "blake3-wasm";

import { Peer } from "./peer.mjs";
import { digest } from "./store.mjs";

const SECRET = "a secret that is long enough, and of the tests alone";
const SPACELESS = SECRET.replaceAll(" ", "-");

function token({ prefixes = ["acme"], seconds = 600, secret = SPACELESS, manifest, origin = "" } = {}) {
  const text = (word) => Buffer.concat([Buffer.from([Buffer.byteLength(word)]), Buffer.from(word)]);
  const expires = Buffer.alloc(8);
  expires.writeBigUInt64LE(BigInt(Math.floor(Date.now() / 1000) + seconds));
  const body = Buffer.concat([
    Buffer.from([1, 0]),
    expires,
    Buffer.from([prefixes.length]),
    ...prefixes.map(text),
    manifest ? Buffer.concat([Buffer.from([1]), Buffer.from(manifest, "hex")]) : Buffer.from([0]),
    text(origin),
  ]);
  const derived = blake3.deriveKey("skiff vmdisk.v1 access token", Buffer.from(secret));
  const keyed = createKeyed(Buffer.from(derived)).update(body).digest();
  return Buffer.concat([body, Buffer.from(keyed)]).toString("base64url");
}

export function tests(test, world) {
  const setUp = async (vars) => {
    const store = await world.newStore({ count: 3, size: 100_000, tenant: "acme" });
    const worker = await world.worker({ store: store.folder, vars: { TOKEN_SECRETS: SPACELESS, LOG: "json", ...vars } });
    return { store, worker };
  };

  for (const sockets of ["worker", "object"]) {
    test(`a session reads what its token names and nothing else (${sockets})`, async () => {
      const { store, worker } = await setUp({ SOCKETS: sockets });
      const peer = await Peer.open(worker.url, store.manifest, { token: token() });
      const found = await peer.fetch(1, store.chunks);
      assert.ok([...found.values()].every(({ type }) => type === "block"));
      await peer.close();
      // Now the objects are in memory and cache; to others they are as absent as ever.
      const public_ = await world.store();
      await worker.fill(public_.folder);
      const stranger = await Peer.open(worker.url, public_.manifest);
      const absent = digest(Buffer.from("absent"));
      const answers = await stranger.fetch(1, [store.chunks[0], absent]);
      const [foreign, nothing] = [answers.get(store.chunks[0]), answers.get(absent)];
      assert.deepEqual({ ...foreign, index: 0, last: false }, { ...nothing, index: 0, last: false });
      await stranger.close();
      const refusal = async (options) => Peer.open(worker.url, store.manifest, options).catch(({ frame }) => frame.code);
      assert.equal(await refusal({}), 5);
      assert.equal(await refusal({ token: token({ prefixes: ["other"] }) }), 5);
      assert.equal(await refusal({ token: token({ seconds: -120 }) }), 3);
      assert.equal(await refusal({ token: token({ secret: "another secret that is long enough too" }) }), 3);
      assert.equal(await refusal({ token: token({ manifest: absent }) }), 5);
      assert.equal(await refusal({ token: token({ origin: "https://vm.example" }) }), 3);
    });

    test(`a session ends with its token (${sockets})`, async () => {
      const { store, worker } = await setUp({ SOCKETS: sockets });
      // Of the minute of grace, three seconds are left.
      const peer = await Peer.open(worker.url, store.manifest, { token: token({ seconds: -57 }) });
      assert.equal((await peer.fetch(1, store.chunks.slice(0, 1))).get(store.chunks[0]).type, "block");
      // A Durable Object may sleep by then: it tells when it is asked.
      if (sockets === "object") {
        await new Promise((resolve) => setTimeout(resolve, 5000));
        peer.get(2, store.chunks.slice(1, 2));
      }
      const [error, closed] = [await peer.next(), await peer.next()];
      assert.deepEqual([error.type, error.code, closed.type, closed.code], ["error", 3, "closed", 4401]);
    }, { seconds: 60 });
  }

  test("over HTTP the path says where, a token permits it, and answers are private", async () => {
    const { store, worker } = await setUp();
    const url = `${worker.url}p/acme/v1/o/${store.chunks[0]}`;
    const good = await fetch(`${url}?t=${token()}`);
    assert.equal(good.status, 200);
    assert.match(good.headers.get("cache-control"), /^private,/);
    assert.equal((await fetch(url, { headers: { authorization: `Bearer ${token()}` } })).status, 200);
    assert.equal((await fetch(url)).status, 401);
    assert.equal((await fetch(`${url}?t=${token({ seconds: -120 })}`)).status, 401);
    const foreign = await fetch(`${url}?t=${token({ prefixes: ["other"] })}`);
    const absent = await fetch(`${worker.url}p/acme/v1/o/${digest(Buffer.from("absent"))}?t=${token()}`);
    assert.deepEqual([foreign.status, await foreign.text()], [absent.status, await absent.text()]);
    assert.equal((await fetch(`${worker.url}v1/o/${store.chunks[0]}`)).status, 404);
    const record = await fetch(`${worker.url}p/acme/t/demo/latest.json?t=${token()}`);
    assert.match(record.headers.get("cache-control"), /^private,/);
    assert.equal(await record.text(), store.record);
  });

  test("tokens never reach the log", async () => {
    const { store, worker } = await setUp();
    const [one, two] = [token(), token({ secret: "another secret that is long enough too" })];
    for (const text of [one, two]) {
      await fetch(`${worker.url}p/acme/v1/o/${store.chunks[0]}?t=${text}`);
      await Peer.open(worker.url, store.manifest, { token: text }).then((peer) => peer.close(), () => {});
    }
    assert.ok(worker.log.length > 0);
    for (const secret of [one, two, SPACELESS]) assert.ok(!worker.log.join("").includes(secret));
  });
}
