// Replays the recorded instructions inside WebAssembly: `node tests/isa/replay.mjs [OPTIONS] [GROUP...]`.
//
// --engine A,B    interpreter, jit (default both)
// --in A,B        node, chromium (default node)
// --fast          only the first forms of the groups of random programs
// --wasm DIR      where the built module is (default build/isa)
// --tables DIR, --vectors DIR   other tables than this folder's
// --machine       for programs: one line with the number of cases and the numbers of the forms that failed, then text
// --figures       what the code generator counted, for each group
//
// A thread replays a slice of a group and ends (`slice.mjs`): a table of functions keeps every instance it ever had, and
// Node copies it into each, so that thousands of modules in one thread end in a lack of memory.

import { readFile, readdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

import { chromiumThreads } from "./chromium.mjs";
import { nodeThreads } from "./slice.mjs";

/** Forms in a slice; the random programs' are long and compiled anew for each case. */
const SLICES = { fuzz: 60, found: 20, mix: 250, mixfp: 250 };
const SLICE = 1000;
/** Forms of a group that are replayed when it has to be fast. */
const FAST = { fuzz: 40, mix: 250, mixfp: 250 };
const PLACES = { node: nodeThreads, chromium: chromiumThreads };

const here = fileURLToPath(new URL(".", import.meta.url));
const words = process.argv.slice(2);
const take = (name, other) => {
  const at = words.indexOf(name);
  return at < 0 ? other : words.splice(at, 2)[1];
};
const flag = (name) => words.includes(name) && words.splice(words.indexOf(name), 1).length > 0;

const engines = take("--engine", "interpreter,jit").replace("wasm-", "").split(",");
const places = take("--in", "node").split(",");
const wasm = take("--wasm", join(here, "../../build/isa"));
const tables = take("--tables", join(here, "table"));
const vectors = take("--vectors", join(here, "vectors"));
const [machine, figures, fast] = [flag("--machine"), flag("--figures"), flag("--fast")];

const { default: init, forms } = await import(join(wasm, "isa.js"));
const module = await WebAssembly.compile(await readFile(join(wasm, "isa_bg.wasm")));
await init({ module_or_path: module });

const names = (await readdir(tables)).filter((name) => name.endsWith(".txt")).map((name) => name.slice(0, -4)).sort();
const strange = words.filter((name) => !names.includes(name));
if (strange.length) throw new Error(`there is no group ${strange.join(", ")}; there are ${names.join(" ")}`);
const chosen = names.filter((name) => words.length === 0 || words.includes(name));
let [passed, failed] = [0, 0];
for (const place of places) {
  if (!PLACES[place]) throw new Error(`there is no place ${place}; there are ${Object.keys(PLACES).join(" ")}`);
  const threads = await PLACES[place](wasm, module);
  for (const name of chosen) for (const engine of engines) await group(threads, place, name, engine);
  await threads.stop();
}
if (!machine) {
  console.log(`\ntest result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed; 0 ignored; 0 measured; 0 filtered out`);
  process.exit(failed ? 1 : 0);
}

async function group(threads, place, name, engine) {
  const table = await readFile(join(tables, `${name}.txt`), "utf8");
  const file = await readFile(join(vectors, `${name}.bin`));
  const all = Math.min(forms(name, table), (fast && FAST[name]) || Infinity);
  const length = SLICES[name] ?? SLICE;
  const begin = performance.now();
  const sum = { cases: 0, failed: 0, forms: [], text: "", figures: "" };
  for (let from = 0; from < all; from += length) {
    const outcome = await threads.run({ engine, name, table, file, from, to: Math.min(all, from + length) });
    if (outcome.error) throw new Error(`${name} on ${engine} in ${place}: ${outcome.error}`);
    for (const key of Object.keys(sum)) sum[key] = Array.isArray(sum[key]) ? [...sum[key], ...outcome[key]] : sum[key] + outcome[key];
  }
  if (machine) {
    console.log([sum.cases, ...sum.forms].join(" "));
    console.log(sum.text);
    return;
  }
  const good = sum.failed === 0;
  good ? (passed += 1) : (failed += 1);
  console.log(`test ${name} on ${engine} in ${place} ... ${good ? "ok" : "FAILED"} (${sum.cases} cases, ${Math.round(performance.now() - begin)} ms)`);
  if (!good) console.log(`${sum.failed} of ${sum.cases} cases differ\n${sum.text}`);
  if (figures) console.log(sum.figures);
}
