// Times verifying and decompressing chunks in Chromium: `node open.mjs MODULE_DIR STORE_DIR`. Prints JSON.

import { readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { existsSync } from "node:fs";
import { join, normalize } from "node:path";
import process from "node:process";

import { chromium } from "playwright-core";

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/** Chunks tried, each so many times; the first round is not counted: code is compiled then. */
const CHUNKS = 100;
const ROUNDS = 6;

const [modules, store] = process.argv.slice(2);
if (!store) {
  console.error("open.mjs: usage: node open.mjs MODULE_DIR STORE_DIR");
  process.exit(2);
}

/** Stored objects that are chunks, not pages or manifests. */
async function chunks() {
  const found = [];
  for (const folder of await readdir(join(store, "o"))) {
    for (const name of await readdir(join(store, "o", folder))) {
      const bytes = await readFile(join(store, "o", folder, name));
      if (bytes.readUInt32LE(4) === 128 * 1024) found.push(`o/${folder}/${name}`);
      if (found.length === CHUNKS) return found;
    }
  }
  return found;
}

const kinds = { js: "text/javascript", wasm: "application/wasm", html: "text/html" };
const server = createServer(async (request, response) => {
  const path = normalize(new URL(request.url, "http://x").pathname);
  const file = path.startsWith("/o/") ? join(store, path) : join(modules, path);
  if (path === "/") {
    response.setHeader("content-type", kinds.html);
    return response.end("<!doctype html>");
  }
  try {
    response.setHeader("content-type", kinds[path.split(".").pop()] ?? "application/octet-stream");
    response.end(await readFile(file));
  } catch {
    response.statusCode = 404;
    response.end();
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}/`;

const executablePath = BROWSERS.find((path) => path && existsSync(path));
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage();
  await page.goto(address);
  const times = await page.evaluate(
    async ([names, rounds]) => {
      const module = await import("/open.js");
      await module.default({ module_or_path: new URL("/open_bg.wasm", location.href) });
      const chunks = [];
      for (const name of names) {
        const bytes = new Uint8Array(await (await fetch(`/${name}`)).arrayBuffer());
        const hex = name.split("/").pop();
        chunks.push({ bytes, hash: Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16)) });
      }
      const times = [];
      for (let round = 0; round < rounds; round += 1) {
        for (const { bytes, hash } of chunks) {
          // Browsers round their clock: one chunk a few times, or the figure is the clock's.
          const repeats = 8;
          const start = performance.now();
          for (let n = 0; n < repeats; n += 1) {
            if (module.open(bytes, hash) !== 131072) throw new Error("a chunk that does not open");
          }
          if (round > 0) times.push((performance.now() - start) / repeats);
        }
      }
      return times.sort((a, b) => a - b);
    },
    [await chunks(), ROUNDS],
  );
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  console.log(JSON.stringify({ median_ms: at(0.5), p95_ms: at(0.95), measured: times.length }));
} finally {
  await browser.close();
  server.close();
}
