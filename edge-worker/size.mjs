// Prints how many bytes the modules of a built Worker have, compressed as the platform counts them: `node size.mjs DIR`.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const folder = process.argv[2];
const entries = await readdir(folder, { recursive: true, withFileTypes: true });
let total = 0;
for (const entry of entries) {
  if (entry.isFile() && /\.(js|wasm)$/.test(entry.name)) {
    total += gzipSync(await readFile(join(entry.parentPath, entry.name)), { level: 9 }).length;
  }
}
console.log(total);
