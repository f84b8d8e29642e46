// Puts a store's files into the local bucket of `wrangler dev`: `node seed.mjs --store DIR --state DIR [--bucket NAME]`.
//
// Files that are there already are left alone, except tags: keys of objects are never written twice.

import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";

import { Miniflare } from "miniflare";

const { values: options } = parseArgs({
  options: { store: { type: "string" }, state: { type: "string" }, bucket: { type: "string", default: "skiff-dev" } },
});
if (!options.store || !options.state) throw new Error("usage: node seed.mjs --store DIR --state DIR [--bucket NAME]");

const miniflare = new Miniflare({
  modules: true,
  script: "export default {}",
  r2Buckets: { STORE: options.bucket },
  // Where wrangler looks, as of the pinned version.
  r2Persist: join(options.state, "v3/r2"),
});
const bucket = await miniflare.getR2Bucket("STORE");
const there = new Set();
for (let cursor; ; ) {
  const page = await bucket.list({ cursor });
  for (const { key } of page.objects) there.add(key);
  if (!page.truncated) break;
  cursor = page.cursor;
}
const entries = await readdir(options.store, { recursive: true, withFileTypes: true });
const names = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
const wanted = names.filter((path) => {
  const key = relative(options.store, path);
  return !key.startsWith("o/") || !there.has(key);
});
for (const path of wanted) await bucket.put(relative(options.store, path), new Uint8Array(await readFile(path)).buffer);
console.log(`${wanted.length} of ${names.length} files were put into the local bucket`);
await miniflare.dispose();
