// Makes the static site: `node bundle.mjs OUT`. Run by `cargo xtask build`.
//
// Files carry a hash in their names, so that a host may cache them for ever and a new page never meets an old worker;
// only index.html and skiff-terminal.js keep theirs. Each file also lies there compressed, for servers that send `.br` and `.gz` as they are.

import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import { build } from "esbuild";

const MOST_COMPRESSED = 2_000_000;

const out = process.argv[2];
if (!out) throw new Error("usage: node bundle.mjs OUT");
const here = fileURLToPath(new URL(".", import.meta.url));
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const wasm = await readFile(join(here, "npm/wasm/skiff_bg.wasm"));
const files = new Map();
const place = (name, bytes) => {
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
  const cut = name.lastIndexOf(".");
  const hashed = `${name.slice(0, cut)}-${hash}${name.slice(cut)}`;
  files.set(hashed, Buffer.from(bytes));
  return hashed;
};

const bundle = async (entry, define = {}) => {
  const result = await build({
    entryPoints: [join(here, entry)],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    outdir: out,
    legalComments: "none",
    define,
  });
  return Object.fromEntries(result.outputFiles.map((file) => [file.path.split(".").pop(), file.contents]));
};

// The element's style lies in its shadow tree, so it has to be text in a module.
const style = await readFile(join(here, "../../node_modules/@xterm/xterm/css/xterm.css"), "utf8");
await writeFile(join(here, "npm/wasm/xterm-style.js"), `export default ${JSON.stringify(style)};\n`);

const wasmName = place("skiff.wasm", wasm);
const worker = place("worker.js", (await bundle("npm/worker.js")).js);
const page = await bundle("page/main.js", {
  SKIFF_WORKER: JSON.stringify(worker),
  SKIFF_WASM: JSON.stringify(wasmName),
});
// For other pages of the same host: <script type="module" src="skiff-terminal.js"></script>, hence no hash in its name.
const element = await bundle("npm/terminal.js", {
  SKIFF_WORKER: JSON.stringify(worker),
  SKIFF_WASM: JSON.stringify(wasmName),
});
files.set("skiff-terminal.js", Buffer.from(element.js));
const html = (await readFile(join(here, "page/index.html"), "utf8"))
  .replace("main.js", place("main.js", page.js))
  .replace("main.css", place("main.css", page.css));
files.set("index.html", Buffer.from(html));
await copyFile(join(here, "page/favicon.svg"), join(out, "favicon.svg"));

let total = 0;
const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } };
for (const [name, bytes] of files) {
  const brotli = brotliCompressSync(bytes, quality);
  await writeFile(join(out, name), bytes);
  await writeFile(join(out, `${name}.br`), brotli);
  await writeFile(join(out, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  total += brotli.length;
  console.log(`    ${name.padEnd(28)} ${kb(bytes.length)}  ${kb(brotli.length)} compressed`);
}
console.log(`    ${"in all".padEnd(28)} ${" ".repeat(10)}  ${kb(total)} compressed`);
if (total > MOST_COMPRESSED) throw new Error(`the client has ${total} bytes compressed, more than ${MOST_COMPRESSED}`);

function kb(bytes) {
  return `${(bytes / 1000).toFixed(1)} kB`.padStart(10);
}
