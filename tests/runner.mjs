// Runs tests written in JavaScript, one after the other, and prints libtest's lines so that all suites are counted alike.

import { readdir } from "node:fs/promises";

/**
 * Runs the tests of every `*.test.mjs` in a folder. Each exports `tests(add, world)`; `world` has `afterTest`, `stop`, and
 * maybe `described`, which tells what was seen when a test failed. Ends the process.
 */
export async function runTests(folder, world, filter) {
  const list = [];
  const files = (await readdir(folder)).filter((name) => name.endsWith(".test.mjs")).sort();
  for (const file of files) {
    const { tests } = await import(new URL(file, folder));
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
      failures.push({ name, error, seen: await world.described?.() });
    }
    clearTimeout(timer);
    await world.afterTest();
    console.log(`test ${name} ... ${verdict} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  }
  await world.stop();
  for (const { name, error, seen } of failures) {
    console.log(`\n---- ${name}\n${error.stack ?? error}`);
    if (seen) console.log(`then there was:\n${seen}`);
  }
  console.log(
    `\ntest result: ${failures.length ? "FAILED" : "ok"}. ${passed} passed; ${failures.length} failed; 0 ignored; ` +
      `0 measured; ${list.length - chosen.length} filtered out`,
  );
  process.exit(failures.length ? 1 : 0);
}
