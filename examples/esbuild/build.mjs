// `node build.mjs OUT`

import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const out = process.argv[2] ?? "dist";
const here = fileURLToPath(new URL(".", import.meta.url));
const installed = fileURLToPath(import.meta.resolve("skiff-vm/worker.js"));

await build({
  entryPoints: { app: join(here, "app.js"), worker: "skiff-vm/worker.js" },
  absWorkingDir: here,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  outdir: out,
});
await mkdir(join(out, "wasm"), { recursive: true });
await copyFile(join(installed, "../wasm/skiff_bg.wasm"), join(out, "wasm/skiff_bg.wasm"));
await copyFile(join(here, "index.html"), join(out, "index.html"));
