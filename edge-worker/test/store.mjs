// A small store in a folder: one image of a few chunks, written by hand with raw envelopes.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { hash as blake3 } from "blake3-wasm";

export const digest = (bytes) => blake3(bytes).toString("hex");
export const objectKey = (hash) => `o/${hash.slice(0, 2)}/${hash}`;

/** Puts an object into its envelope, uncompressed. */
export function envelope(object) {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(object.length, 4);
  return Buffer.concat([head, object]);
}

/** The smallest manifest: an image of no bytes. */
function manifest(created) {
  const root = Buffer.alloc(56);
  root.write("VMDM", 0, "latin1");
  root.writeUInt16LE(1, 4);
  root.set([17, 10, 1, 1], 8);
  root.writeUInt32LE(created, 24);
  return root;
}

export class Store {
  chunks = [];

  /** Makes a store with `count` different chunks of `size` bytes, in the public part or a tenant's. */
  static async make({ count = 40, size = 131_072, tenant } = {}) {
    const store = new Store();
    store.folder = await mkdtemp(join(tmpdir(), "skiff-store-"));
    store.prefix = tenant ? `p/${tenant}/` : "";
    for (let n = 0; n < count; n += 1) {
      const object = Buffer.alloc(size, (n * 37 + 1) & 255);
      object.writeUInt32LE(n, 0);
      store.chunks.push(await store.add(object));
    }
    store.manifest = await store.add(manifest(tenant ? 1 : 0));
    const record = { name: "demo", tag: "latest", manifest: store.manifest, size: 0, created: 0, transport: ["ws", "http"] };
    store.record = `${JSON.stringify(record)}\n`;
    await store.write("t/demo/latest.json", store.record);
    return store;
  }

  async add(object) {
    const hash = digest(object);
    await this.write(objectKey(hash), envelope(object));
    return hash;
  }

  async write(key, bytes) {
    const path = this.path(key);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, bytes);
  }

  key(hash) {
    return this.prefix + objectKey(hash);
  }

  path(key) {
    return join(this.folder, this.prefix, key);
  }

  async remove() {
    await rm(this.folder, { recursive: true, force: true });
  }
}
