// Runs the rows on every host and reports: `node tests/bench/run.mjs --work DIR --block-server FILE [OPTIONS]`.
//
// --work DIR        where `cargo xtask bench` put the tree, the store, v86's kernel and initial root
// --rows A,B        only these rows
// --hosts A,B       only these hosts: native, qemu, node, chromium, v86 (native is always among them)
// --quick           a fifth of the work, fewer rounds
// --readme FILE     puts the table between the marks in that file, and figures and chart into `tests/bench/results`
// --profile FOLDER  has Skiff in Node write a profile of each row there
//
// Rows are run host by host, one row at a time, so that a disturbance meets all hosts alike. The first round of a row is
// "cold", the best of the others "warm". Values must agree with native's.

import { cpus } from "node:os";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { chart } from "./chart.mjs";
import { summary, table } from "./report.mjs";
import { ROWS, command } from "./rows.mjs";

const HOSTS = {
  native: () => import("./hosts/native.mjs"),
  qemu: () => import("./hosts/qemu.mjs"),
  node: () => import("./hosts/skiff-node.mjs"),
  chromium: () => import("./hosts/skiff-chromium.mjs"),
  v86: () => import("./hosts/v86.mjs"),
};

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const words = process.argv.slice(2);
const option = (name) => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);
const list = (name) => option(name)?.split(",").filter(Boolean);
const refuse = (message) => {
  process.stderr.write(`bench: ${message}\n`);
  process.exit(2);
};

const quick = words.includes("--quick");
const work = option("--work") ?? refuse("--work is missing");
const wanted = list("--rows");
const unknown = wanted?.filter((name) => !ROWS.some((row) => row.name === name)) ?? [];
if (unknown.length) refuse(`there is no row ${unknown.join(", ")}; there are ${ROWS.map((row) => row.name).join(" ")}`);
const chosen = ["native", ...(list("--hosts") ?? Object.keys(HOSTS)).filter((name) => name !== "native")];
const strange = chosen.filter((name) => !HOSTS[name]);
if (strange.length) refuse(`there is no host ${strange.join(", ")}; there are ${Object.keys(HOSTS).join(" ")}`);

const numbers = quick ? { quick, rounds: 3, budgetMs: 4000 } : { quick, rounds: 5, budgetMs: 7000 };
const root = fileURLToPath(new URL("../../", import.meta.url));
const surroundings = {
  tree: join(work, "tree"),
  store: join(work, "store"),
  kernel: join(work, "kernel"),
  initrd: join(work, "initrd"),
  cli: join(root, "vm-client/browser/npm/cli.mjs"),
  blockServer: option("--block-server"),
  patienceMs: quick ? 60_000 : 90_000,
  browser: await chromium.launch({ executablePath: BROWSERS.find((path) => path && existsSync(path)), args: ["--no-sandbox", "--disable-gpu"] }),
};
const profiles = option("--profile");
if (profiles) await mkdir(profiles, { recursive: true });

const hosts = {};
const skipped = [];
const results = [];
try {
  for (const name of chosen) {
    const module = await HOSTS[name]();
    try {
      const host = await module.start(surroundings);
      hosts[name] = { ...host, title: module.title };
      process.stderr.write(`${module.title} is up${host.version ? ` (${host.version})` : ""}\n`);
    } catch (error) {
      skipped.push(`${module.title}: ${error.message.split("\n")[0]}`);
      process.stderr.write(`${skipped.at(-1)}\n`);
    }
  }
  for (const row of ROWS.filter(({ name }) => !wanted || wanted.includes(name))) {
    if (row.needs && !existsSync(join(surroundings.tree, row.needs))) {
      skipped.push(`${row.name}: ${row.needs} is not in the image`);
      continue;
    }
    const measured = {};
    for (const [name, host] of Object.entries(hosts)) measured[name] = await measure(host, name, row);
    for (const [name, result] of Object.entries(measured)) {
      if (result.value && measured.native.value && result.value !== measured.native.value) result.wrong = true;
    }
    results.push({ name: row.name, what: row.what, group: row.group, hosts: measured });
    const told = Object.entries(measured).map(([name, { warm, error, wrong }]) => {
      return `${name} ${error ? `failed (${error})` : `${warm.toFixed(1)} ms${wrong ? " WRONG VALUE" : ""}`}`;
    });
    process.stderr.write(`${row.name}: ${told.join(", ")}\n`);
  }
} finally {
  const figures = await hosts.chromium?.figures().catch(() => undefined);
  for (const host of Object.values(hosts)) await host.stop();
  await surroundings.browser.close();
  await report(figures);
}

async function measure(host, name, row) {
  try {
    const output = await host.run(command(row, numbers), { profile: profiles && join(profiles, `${row.name}.json`) });
    const rounds = [...output.matchAll(/^([\d.]+) ([0-9a-f]{8})$/gm)].map(([, ms, value]) => ({ ms: Number(ms), value }));
    if (rounds.length < 2) throw new Error(`printed ${JSON.stringify(output.slice(0, 80))}`);
    if (rounds.some(({ value }) => value !== rounds[0].value)) throw new Error("rounds with different values");
    const times = rounds.map(({ ms }) => ms);
    return { cold: times[0], warm: Math.min(...times.slice(1)), times, value: rounds[0].value };
  } catch (error) {
    return { error: error.message.split("\n")[0] };
  }
}

async function report(figures) {
  const about = {
    date: new Date().toISOString().slice(0, 10),
    processor: `${cpus()[0]?.model.trim()}, ${cpus().length} threads`,
    quick,
    hosts: Object.fromEntries(Object.entries(hosts).map(([name, { title, version }]) => [name, { title, version }])),
    skipped,
    figures,
  };
  const found = { about, rows: results };
  const text = table(found);
  process.stdout.write(`\n${text}\n${summary(found)}\n`);
  const out = join(work, "results");
  await mkdir(out, { recursive: true });
  await write(out, found);
  process.stdout.write(`figures and chart: ${join(out, "results.json")}, ${join(out, "chart.svg")}\n`);
  const readme = option("--readme");
  if (!readme) return;
  const kept = join(root, "tests/bench/results");
  await mkdir(kept, { recursive: true });
  await write(kept, found);
  const old = await readFile(readme, "utf8");
  const marks = /(<!-- bench -->\n)[^]*(<!-- \/bench -->)/;
  if (!marks.test(old)) throw new Error(`${readme} has no marks <!-- bench --> and <!-- /bench -->`);
  const picture = relative(dirname(resolve(readme)), join(kept, "chart.svg"));
  const all = `${text}\n${summary(found)}\n\n![The table as a chart](${picture})\n`;
  await writeFile(readme, old.replace(marks, (_, begin, end) => `${begin}${all}${end}`));
}

async function write(folder, found) {
  await writeFile(join(folder, "results.json"), `${JSON.stringify(found, null, 1)}\n`);
  await writeFile(join(folder, "chart.svg"), chart(found));
}
