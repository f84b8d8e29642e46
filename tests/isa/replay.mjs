// Replays the recorded instructions inside WebAssembly, in Node: `node tests/isa/replay.mjs [OPTIONS] [GROUP...]`.
//
// --engine A,B    interpreter, jit (default both)
// --wasm DIR      where the built module is (default build/isa)
// --tables DIR, --vectors DIR   other tables than this folder's
// --machine       for programs: one line with the number of cases and the numbers of the forms that failed, then text
// --figures       what the code generator counted, for each group

import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const here = fileURLToPath(new URL(".", import.meta.url));
const words = process.argv.slice(2);
const take = (name, other) => {
  const at = words.indexOf(name);
  return at < 0 ? other : words.splice(at, 2)[1];
};
const flag = (name) => words.includes(name) && words.splice(words.indexOf(name), 1).length > 0;

const engines = take("--engine", "interpreter,jit").replace("wasm-", "").split(",");
const wasm = take("--wasm", join(here, "../../build/isa"));
const tables = take("--tables", join(here, "table"));
const vectors = take("--vectors", join(here, "vectors"));
const [machine, figures] = [flag("--machine"), flag("--figures")];

const { default: init, replay } = await import(join(wasm, "isa.js"));
await init({ module_or_path: await readFile(join(wasm, "isa_bg.wasm")) });
const host = { now: () => performance.now() };

const names = (await readdir(tables)).filter((name) => name.endsWith(".txt")).map((name) => name.slice(0, -4)).sort();
const chosen = names.filter((name) => words.length === 0 || words.includes(name));
let [passed, failed] = [0, 0];
for (const name of chosen) {
  const table = await readFile(join(tables, `${name}.txt`), "utf8");
  const file = await readFile(join(vectors, `${name}.bin`));
  for (const engine of engines) {
    const begin = performance.now();
    const outcome = replay(engine, name, table, file, host);
    if (machine) {
      console.log([outcome.cases, ...outcome.forms].join(" "));
      console.log(outcome.text);
      continue;
    }
    const good = outcome.failed === 0;
    good ? (passed += 1) : (failed += 1);
    console.log(`test ${name} on ${engine} ... ${good ? "ok" : "FAILED"} (${outcome.cases} cases, ${Math.round(performance.now() - begin)} ms)`);
    if (!good) console.log(`${outcome.failed} of ${outcome.cases} cases differ\n${outcome.text}`);
    if (figures) console.log(outcome.figures);
    outcome.free();
  }
}
if (!machine) {
  console.log(`\ntest result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed; 0 ignored; 0 measured; 0 filtered out`);
  process.exit(failed ? 1 : 0);
}
