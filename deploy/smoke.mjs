// Looks at a deployed server from outside: `node deploy/smoke.mjs URL [--image NAME] [--tag TAG]`, a token in SKIFF_TOKEN.
//
// What it asks any server of ours answers alike: headers that browsers and caches rely on, ranges, refusals. It prints a
// line for each and fails if one is wrong. `cargo xtask smoke` runs it, then fetches a sample of the image.

import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const require = createRequire(new URL("../edge-worker/package.json", import.meta.url));
const WebSocket = require("ws");
const { hash: blake3 } = require("blake3-wasm");

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { image: { type: "string", default: "debian" }, tag: { type: "string", default: "latest" } },
});
const [given] = positionals;
if (!given) throw new Error("usage: node deploy/smoke.mjs URL [--image NAME] [--tag TAG]");
const base = given.replace(/\/*$/, "/");
const token = process.env.SKIFF_TOKEN;
const headers = token ? { authorization: `Bearer ${token}` } : {};
const get = (path, more = {}) => fetch(base + path, { ...more, headers: { ...headers, ...more.headers } });

let wrong = 0;
async function check(what, question) {
  let reason = null;
  try {
    reason = await question();
  } catch (error) {
    reason = error.message;
  }
  wrong += reason ? 1 : 0;
  console.log(`${reason ? "WRONG" : "ok   "} ${what}${reason ? `: ${reason}` : ""}`);
}
const expect = (found, expected) => (found === expected ? null : `${found} instead of ${expected}`);
const all = (...reasons) => reasons.find(Boolean) ?? null;

await check("the server answers", async () => expect((await fetch(new URL("/healthz", base))).status, 200));

let manifest;
await check(`the image ${options.image}@${options.tag} has a tag record`, async () => {
  const reply = await get(`t/${options.image}/${options.tag}.json`);
  if (reply.status !== 200) return `status ${reply.status}`;
  const record = await reply.json();
  manifest = record.manifest;
  return all(expect(record.name, options.image), expect(record.tag, options.tag), /^[0-9a-f]{64}$/.test(manifest) ? null : "no manifest");
});

if (manifest) {
  const key = `o/${manifest.slice(0, 2)}/${manifest}`;
  const scope = token ? "private" : "public";
  let etag;
  let length;
  await check("an object is immutable, has its ETag, and other pages may embed it", async () => {
    const reply = await get(key, { headers: { origin: new URL(base).origin } });
    const stored = Buffer.from(await reply.arrayBuffer());
    [etag, length] = [reply.headers.get("etag"), stored.length];
    return all(
      expect(reply.status, 200),
      expect(reply.headers.get("content-type"), "application/vnd.vmdisk.object"),
      expect(reply.headers.get("content-encoding"), null),
      expect(reply.headers.get("cache-control"), `${scope}, max-age=31536000, immutable, no-transform`),
      expect(reply.headers.get("cross-origin-resource-policy"), "cross-origin"),
      expect(etag, `"${blake3(stored).toString("hex")}"`),
      reply.headers.get("access-control-allow-origin") ? null : "no access-control-allow-origin",
    );
  });
  await check("HEAD, ranges and validators", async () => {
    const head = await get(key, { method: "HEAD" });
    const part = await get(key, { headers: { range: "bytes=2-5" } });
    const same = await get(key, { headers: { "if-none-match": etag ?? "" } });
    return all(
      expect(head.status, 200),
      expect(head.headers.get("content-length"), String(length)),
      expect(part.status, 206),
      expect(part.headers.get("content-range"), `bytes 2-5/${length}`),
      expect((await part.arrayBuffer()).byteLength, 4),
      expect(same.status, 304),
    );
  });
  await check("a batch brings frames", async () => {
    const reply = await get("v1/batch", { method: "POST", body: Buffer.from(manifest, "hex") });
    const body = Buffer.from(await reply.arrayBuffer());
    return all(expect(reply.status, 200), expect(body.readUInt32LE(0), body.length - 4), expect(body[4], 0x82));
  });
}

await check("what is absent is a problem in words that nobody caches", async () => {
  const reply = await get(`o/00/${"0".repeat(64)}`);
  return all(
    expect(reply.status, 404),
    expect(reply.headers.get("content-type"), "application/problem+json"),
    expect(reply.headers.get("cache-control"), "no-store"),
  );
});

await check("the WebSocket opens and chooses the protocol (or the server says that it speaks HTTP only)", () =>
  new Promise((resolve) => {
    const socket = new WebSocket(`${base.replace(/^http/, "ws")}v1/ws`, ["vmdisk.v1"]);
    const done = (reason) => {
      socket.terminate();
      resolve(reason);
    };
    socket.on("open", () => done(expect(socket.protocol, "vmdisk.v1")));
    socket.on("unexpected-response", (_, reply) => done(expect(reply.statusCode, 501)));
    socket.on("error", (error) => done(error.message));
    setTimeout(() => done("no answer in 10 s"), 10_000).unref();
  }),
);

console.log(wrong ? `${wrong} answers are wrong` : "everything is right");
process.exit(wrong ? 1 : 0);
