// The built Worker in workerd, with a simulated R2 bucket, Cache API and Durable Objects. Used by `serve.mjs` and the tests.

import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import { Log, LogLevel, Miniflare } from "miniflare";

export const root = fileURLToPath(new URL("../", import.meta.url));
export const built = join(root, "build/worker");

/** The newest date that the pinned workerd knows, and the one that wrangler.toml has. */
export const NEWEST = "2026-04-26";

/** Reads of the disk and writes to the bucket at once while it is filled. */
const AT_ONCE = 16;

/** Analytics Engine's binding as workerd has none of: it writes its points to the log. Miniflare's own drops them. */
const DATA_SET = `
class AnalyticsEngineDataset {
  writeDataPoint(point) { console.log("point: " + JSON.stringify(point)); }
}
export default () => new AnalyticsEngineDataset();
`;

export class LocalWorker {
  #options;
  #miniflare;
  #folder;
  log = [];

  /**
   * Starts the Worker. Everything it keeps lies in a temporary folder. With `metrics`, its points for Analytics Engine are lines of
   * the log that begin with `point: `.
   */
  static async start(options) {
    if (!existsSync(join(built, "index_bg.wasm"))) {
      throw new Error("the Worker is not built: run `cargo xtask worker build` first");
    }
    const worker = new LocalWorker();
    worker.#options = options;
    worker.#folder = await mkdtemp(join(tmpdir(), "skiff-worker-"));
    worker.#miniflare = new Miniflare(await worker.#config());
    await worker.#ready();
    if (options.store && options.kind !== "assets") await worker.fill(options.store);
    return worker;
  }

  async #ready() {
    const address = await this.#miniflare.ready;
    this.port = Number(address.port);
    this.url = `http://127.0.0.1:${this.port}/`;
  }

  async #config() {
    const { site, store, kind = "r2", date = NEWEST, port = 0, vars = {}, metrics = false } = this.#options;
    const names = ["shim.js", "index.js", "index_bg.wasm"];
    const modules = await Promise.all(
      names.map(async (name) => {
        const path = join(built, name);
        const type = name.endsWith(".wasm") ? "CompiledWasm" : "ESModule";
        return { type, path, contents: await readFile(path) };
      }),
    );
    const snippets = existsSync(join(built, "snippets")) ? await files(join(built, "snippets")) : [];
    for (const path of snippets) modules.push({ type: "ESModule", path, contents: await readFile(path, "utf8") });
    const assets = kind === "assets" ? store : site;
    const note = (text) => {
      this.log.push(text);
      if (this.log.length > 1000) this.log.shift();
    };
    return {
      host: "127.0.0.1",
      port: this.port ?? port,
      log: new Log(LogLevel.ERROR),
      handleRuntimeStdio(output, errors) {
        output.setEncoding("utf8").on("data", note);
        errors.setEncoding("utf8").on("data", note);
      },
      defaultPersistRoot: this.#folder,
      workers: [
        {
          name: "skiff",
          modulesRoot: built,
          modules,
          compatibilityDate: date,
          bindings: { STORE_KIND: kind, ...vars },
          r2Buckets: { STORE: "store" },
          durableObjects: { SOCKETS_OBJECT: "SocketObject" },
          ...(metrics && { wrappedBindings: { METRICS: "metrics" } }),
          ...(assets && {
            assets: {
              directory: assets,
              binding: "ASSETS",
              routerConfig: { invoke_user_worker_ahead_of_assets: true, has_user_worker: true },
            },
          }),
        },
        ...(metrics ? [{ name: "metrics", modules: true, script: DATA_SET }] : []),
      ],
    };
  }

  /** Puts every file of a folder into the bucket, under its path. */
  async fill(folder) {
    const bucket = await this.#miniflare.getR2Bucket("STORE");
    const names = await files(folder);
    let next = 0;
    const take = async () => {
      while (next < names.length) {
        const path = names[next++];
        await bucket.put(relative(folder, path), plain(await readFile(path)));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, take));
    return names.length;
  }

  async put(key, bytes) {
    await (await this.#miniflare.getR2Bucket("STORE")).put(key, plain(bytes));
  }

  async delete(key) {
    await (await this.#miniflare.getR2Bucket("STORE")).delete(key);
  }

  async #cache() {
    return (await this.#miniflare.getCaches()).default;
  }

  #cacheKey(key) {
    return `https://127.0.0.1:${this.port}/.edge-cache/${key}`;
  }

  /** What the Cache API has under a key: how many bytes, or null. */
  async cached(key) {
    const found = await (await this.#cache()).match(this.#cacheKey(key));
    return found ? (await found.arrayBuffer()).byteLength : null;
  }

  async poison(key, bytes) {
    const headers = { "cache-control": "public, max-age=31536000" };
    const { Response } = await import("miniflare");
    await (await this.#cache()).put(this.#cacheKey(key), new Response(plain(bytes), { headers }));
  }

  async forget(keys) {
    const cache = await this.#cache();
    for (const key of keys ?? (await this.keys())) await cache.delete(this.#cacheKey(key));
  }

  async keys() {
    const bucket = await this.#miniflare.getR2Bucket("STORE");
    const keys = [];
    for (let cursor; ; ) {
      const page = await bucket.list({ cursor });
      keys.push(...page.objects.map(({ key }) => key));
      if (!page.truncated) return keys;
      cursor = page.cursor;
    }
  }

  /** Starts the Worker anew with these settings and no others. The bucket, which takes long to fill, and the Cache API stay. */
  async become(vars) {
    this.log.length = 0;
    this.#options = { ...this.#options, vars };
    await this.restart();
  }

  /** Starts the Worker anew, with empty memory and maybe other settings. The bucket and the Cache API stay. */
  async restart(vars) {
    if (vars) this.#options = { ...this.#options, vars: { ...this.#options.vars, ...vars } };
    // A changed binding makes the runtime load the Worker anew even if nothing else changed.
    this.#options.vars = { ...this.#options.vars, RESTARTED: String(Date.now()) };
    await this.#miniflare.setOptions(await this.#config());
    await this.#ready();
  }

  /** The process of workerd. */
  async runtimePid() {
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
      const [, name, , parent] = stat.match(/^\d+ \((.*)\) (\S+) (\d+)/) ?? [];
      if (name === "workerd" && Number(parent) === process.pid) this.pid = Number(pid);
    }
    return this.pid;
  }

  async stop() {
    await this.#miniflare.dispose();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** What miniflare's proxy takes: it knows no `Buffer`. */
function plain(bytes) {
  return typeof bytes === "string" ? bytes : new Uint8Array(bytes).buffer;
}

async function files(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
