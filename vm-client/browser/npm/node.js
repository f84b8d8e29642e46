// The surroundings of a machine in Node: stores may be directories, and changes are kept where the program has given Node an
// `indexedDB`.

import { readFile, rename, writeFile } from "node:fs/promises";
import { resolve } from "node:path";

import { storedLists } from "./hotcode.js";
import { takeLock } from "./lock.js";
import { readWithFetch } from "./network.js";
import { IndexedDbPages } from "./overlay.js";
import { startWith } from "./port.js";
import { serve } from "./serve.js";

/**
 * A port to a machine in this thread: what `Linux.create` uses without a `worker` once this module is imported. A list of hot
 * code is kept in `hotCodeFile`, or where the program has given Node an `indexedDB`.
 */
export function inProcess({ hotCodeFile } = {}) {
  const port = { onmessage: null, onerror: null, postMessage, terminate() {} };
  // Both directions are asynchronous and copy, as messages to a worker do.
  const later = (deliver) => (message) => {
    const copy = structuredClone(message);
    setImmediate(() => deliver(copy));
  };
  const handle = serve(
    { post: later((data) => port.onmessage?.({ data })) },
    {
      module: readFile(new URL("./wasm/skiff_bg.wasm", import.meta.url)),
      // Where Node has no `indexedDB`, these say so.
      openPages: IndexedDbPages.open,
      openLayer: IndexedDbPages.openLayer,
      takeLock,
      hotLists: hotCodeFile === undefined ? storedLists : listIn(hotCodeFile),
      readUrl,
      soon: setImmediate,
    },
  );
  function postMessage(request) {
    later(handle)(request);
  }
  return port;
}

// Without a `worker`, `Linux.create` takes this.
startWith(inProcess);

/** A list of hot code in a file: the image's identity on a line, and the list behind it. */
function listIn(path) {
  return {
    async load() {
      const bytes = await readFile(path).catch((error) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (!bytes) return undefined;
      const line = bytes.indexOf(10);
      return { image: bytes.toString("latin1", 0, Math.max(0, line)), list: new Uint8Array(bytes.subarray(line + 1)) };
    },
    async save(_key, { image, list }) {
      await writeFile(`${path}.new`, Buffer.concat([Buffer.from(`${image}\n`), list]));
      await rename(`${path}.new`, path);
    },
  };
}

const IS_URL = /^[a-z]+:\/\//;

/** Makes the directory of a store absolute; URLs stay as they are. */
export function imageUrl(text) {
  if (IS_URL.test(text)) return text;
  const cut = text.lastIndexOf("/");
  return `${resolve(cut < 0 ? "." : text.slice(0, cut) || "/")}/${text.slice(cut + 1)}`;
}

async function readUrl(url, reload, limit, signal, range) {
  if (IS_URL.test(url)) return readWithFetch(url, reload, limit, signal, range);
  const header = () => undefined;
  if (range) throw new Error(`${url}: parts of files are only read over HTTP`);
  try {
    const body = await readFile(url, { signal });
    if (body.length > limit) throw new Error(`${url} has ${body.length} bytes, more than ${limit}`);
    return { status: 200, body: new Uint8Array(body.buffer, body.byteOffset, body.length), header };
  } catch (error) {
    if (error.code === "ENOENT") return { status: 404, body: new Uint8Array(), header };
    throw error;
  }
}
