// Runs the tests of the browser client: `node tests/browser/run.mjs --block-server FILE [--filter TEXT]`.
//
// Each `*.test.mjs` exports `tests(add, world)`. They share one block-server with the demo store and one headless Chromium;
// each browser test gets a fresh browser context, so no test sees another's saved changes. The last line is libtest's.

import { readdir } from "node:fs/promises";

import { World } from "./world.mjs";

const option = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};

const filter = option("filter");
const world = await World.start(option("block-server"));
const list = [];
const files = (await readdir(new URL(".", import.meta.url))).filter((name) => name.endsWith(".test.mjs")).sort();
for (const file of files) {
  const { tests } = await import(new URL(file, import.meta.url));
  const group = file.replace(".test.mjs", "");
  tests((name, body, { seconds = 60 } = {}) => list.push({ name: `${group}: ${name}`, body, seconds }), world);
}

let passed = 0;
const failures = [];
const chosen = list.filter(({ name }) => !filter || name.includes(filter));
console.log(`running ${chosen.length} tests`);
for (const { name, body, seconds } of chosen) {
  const start = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${seconds} s`)), seconds * 1000);
  });
  let verdict = "ok";
  try {
    await Promise.race([body(), late]);
    passed += 1;
  } catch (error) {
    verdict = "FAILED";
    failures.push({ name, error, seen: await world.lastScreen() });
  }
  clearTimeout(timer);
  await world.afterTest();
  console.log(`test ${name} ... ${verdict} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
}
await world.stop();

for (const { name, error, seen } of failures) {
  console.log(`\n---- ${name}\n${error.stack ?? error}`);
  if (seen) console.log(`the terminal showed:\n${seen}`);
}
console.log(
  `\ntest result: ${failures.length ? "FAILED" : "ok"}. ${passed} passed; ${failures.length} failed; 0 ignored; ` +
    `0 measured; ${list.length - chosen.length} filtered out`,
);
process.exit(failures.length ? 1 : 0);
