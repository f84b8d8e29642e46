// Makes the contents of the guest's /bench: `node build.mjs FOLDER`.

import { execFile } from "node:child_process";
import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";

import { PROGRAMS, SCRIPTS, TEXT_KIB } from "./rows.mjs";

const execute = promisify(execFile);
const sources = new URL("programs/", import.meta.url).pathname;
const folder = process.argv[2];

await mkdir(folder, { recursive: true });
for (const { name, source, flags } of PROGRAMS) {
  await execute("gcc", [...flags, "-o", `${folder}/${name}`, `${sources}${source}.c`, "-lm"]);
}
for (const script of SCRIPTS) await copyFile(sources + script, `${folder}/${script}`);
const { stdout } = await execute(`${folder}/write-text`, [String(TEXT_KIB)], { encoding: "buffer", maxBuffer: 1 << 28 });
await writeFile(`${folder}/text`, stdout);
await writeFile(`${folder}/text.gz`, gzipSync(stdout, { level: 6 }));
