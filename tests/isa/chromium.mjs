// Threads of Chromium for a replay: a page that starts a Web Worker for each slice.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { join } from "node:path";

import { World } from "../browser/world.mjs";

const PAGE = `<!doctype html><title>replay</title><script type="module">
const module = await WebAssembly.compileStreaming(fetch("/isa_bg.wasm"));
globalThis.run = ({ file, ...slice }) => new Promise((resolve) => {
  const worker = new Worker("/slice.mjs", { type: "module" });
  const finish = (outcome) => (worker.terminate(), resolve(outcome));
  worker.onmessage = ({ data }) => finish(data);
  worker.onerror = ({ message }) => finish({ error: message });
  const bytes = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
  worker.postMessage({ script: "/isa.js", module, slice: { ...slice, file: bytes } });
});
</script>`;

/** Like `nodeThreads`; the page gets the module by itself. */
export async function chromiumThreads(wasm) {
  const files = {
    "/slice.mjs": [new URL("slice.mjs", import.meta.url), "text/javascript"],
    "/isa.js": [join(wasm, "isa.js"), "text/javascript"],
    "/isa_bg.wasm": [join(wasm, "isa_bg.wasm"), "application/wasm"],
  };
  const server = createServer(async (request, response) => {
    if (request.url === "/") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    const [file, type] = files[request.url] ?? [];
    if (!file) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": type }).end(await readFile(file));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const world = await World.browserOnly();
  const page = await (await world.context()).newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => globalThis.run);
  return {
    run: ({ file, ...slice }) => page.evaluate((data) => globalThis.run(data), { ...slice, file: file.toString("base64") }),
    async stop() {
      await world.afterTest();
      await world.stop();
      server.close();
    },
  };
}
