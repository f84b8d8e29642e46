// v86 (its npm package) in a tab: Debian's kernel for the 686, the image's tree as its initial root, a shell on the first
// serial line.

import { createReadStream, existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export const title = "v86, Chromium";

const PACKAGE = fileURLToPath(new URL("../../../node_modules/v86/", import.meta.url));
const BOOT_MS = 300_000;
const TYPES = { html: "text/html", mjs: "text/javascript", wasm: "application/wasm" };

const PAGE = `<!doctype html><title>v86</title><div id="screen"><div style="white-space: pre"></div><canvas></canvas></div>
<script type="module">
import { V86 } from "/libv86.mjs";
const output = [];
globalThis.serial = "";
const emulator = (globalThis.emulator = new V86({
  wasm_path: "/v86.wasm",
  memory_size: 1024 * 1024 * 1024,
  vga_memory_size: 2 * 1024 * 1024,
  screen_container: document.getElementById("screen"),
  bios: { url: "/bios.bin" },
  vga_bios: { url: "/vgabios.bin" },
  bzimage: { url: "/vmlinuz" },
  initrd: { url: "/initrd" },
  cmdline: "console=ttyS0 rdinit=/bench/init tsc=reliable mitigations=off random.trust_cpu=on loglevel=4",
  disable_speaker: true,
  autostart: true,
}));
emulator.add_listener("serial0-output-byte", (byte) => (globalThis.serial += String.fromCharCode(byte)));
</script>`;

/** What of the image's files v86's machine is not given: it holds them all in memory. */
export const LEFT_OUT = [/^usr\/share\/(?!nodejs)/, /^var\//, /^usr\/include\//, /^usr\/lib\/(apt|dpkg|systemd)\//, /^boot\//, /\/gconv\//];

export async function start({ browser, kernel, initrd, patienceMs }) {
  if (!existsSync(`${PACKAGE}build/libv86.mjs`)) throw new Error("the npm package v86 is not installed");
  const files = {
    "/libv86.mjs": `${PACKAGE}build/libv86.mjs`,
    "/v86.wasm": `${PACKAGE}build/v86.wasm`,
    "/bios.bin": `${kernel}/bios.bin`,
    "/vgabios.bin": `${kernel}/vgabios.bin`,
    "/vmlinuz": `${kernel}/vmlinuz`,
    "/initrd": initrd,
  };
  const server = createServer(async (request, response) => {
    const file = files[request.url];
    if (request.url === "/") return response.writeHead(200, { "content-type": TYPES.html }).end(PAGE);
    if (!file) return response.writeHead(404).end();
    const { size } = await stat(file);
    response.writeHead(200, { "content-type": TYPES[file.split(".").at(-1)] ?? "application/octet-stream", "content-length": size });
    createReadStream(file).pipe(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const context = await browser.newContext();
  const page = await context.newPage();
  const begin = performance.now();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const says = async (mark, ms) => {
    const end = performance.now() + ms;
    for (;;) {
      const text = await page.evaluate(() => globalThis.serial);
      if (text.includes(mark)) return text;
      if (/Kernel panic/.test(text)) throw new Error(`v86's kernel panicked: ${text.slice(-300)}`);
      if (performance.now() > end) throw new Error(`waited ${ms / 1000} s for v86: ${text.slice(-300)}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  await says("bench is ready", BOOT_MS);
  const bootMs = performance.now() - begin;
  let next = 0;
  const seconds = Math.ceil(patienceMs / 1000);
  const { version } = JSON.parse(await readFile(`${PACKAGE}package.json`, "utf8"));
  return {
    version: `v86 ${version}, up after ${(bootMs / 1000).toFixed(0)} s`,
    async run(command) {
      const mark = `ended-${(next += 1)}`;
      const quoted = command.map((word) => `'${word}'`).join(" ");
      // The mark is put together by the shell, so that an echo of the command is not taken for it.
      await page.evaluate((line) => {
        globalThis.serial = "";
        globalThis.emulator.serial0_send(line);
      }, `LANG=C timeout -s KILL ${seconds} ${quoted} </dev/null 2>/dev/null; echo status $? ended""-${next}\n`);
      // The guest's clock is not ours to the second.
      const text = (await says(mark, patienceMs * 2)).replaceAll("\r", "");
      const [, output, status] = /^([^]*)status (\d+) ended-/.exec(text) ?? [];
      if (status === "137") throw new Error(`took longer than ${seconds} s`);
      if (status !== "0") throw new Error(`status ${status}`);
      return output;
    },
    async stop() {
      await context.close();
      server.close();
    },
  };
}
