// The figures as text: a table in Markdown, and how far the goals are.

import { GROUPS } from "./rows.mjs";

/** The geometric mean; undefined for nothing. */
export function mean(values) {
  if (values.length === 0) return undefined;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Warm time of a row on a host as a ratio to native's; undefined if it has none or a wrong value. */
export function ratio(row, host, kind = "warm") {
  const { [host]: there, native } = row.hosts;
  if (!there || there.error || there.wrong || !native?.warm) return undefined;
  return there[kind] / native.warm;
}

const figure = (value) => (value === undefined ? "-" : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function cell(row, host) {
  const result = row.hosts[host];
  if (!result) return "-";
  if (result.error) return "failed";
  if (result.wrong) return "wrong value";
  return `${figure(ratio(row, host))} (${figure(ratio(row, host, "cold"))})`;
}

/** Rows by hosts: native in milliseconds, the others as ratios to it. */
export function table({ about, rows }) {
  const others = Object.keys(about.hosts).filter((name) => name !== "native");
  const head = ["row", "native, ms", ...others.map((name) => about.hosts[name].title)];
  const body = rows.map((row) => {
    const { native } = row.hosts;
    const ms = native.error ? "failed" : `${figure(native.warm)} (${figure(native.cold)})`;
    return [row.what, ms, ...others.map((name) => cell(row, name))];
  });
  const common = rows.filter((row) => others.every((name) => ratio(row, name) !== undefined));
  const means = others.map((name) => figure(mean(common.map((row) => ratio(row, name)))));
  const all = others.map((name) => {
    const own = rows.map((row) => ratio(row, name)).filter(Boolean);
    return `${figure(mean(own))} (${own.length} rows)`;
  });
  body.push([`geometric mean of the ${common.length} rows that all have`, "1", ...means]);
  if (common.length < rows.length) body.push(["geometric mean of the rows that a host has", "1", ...all]);
  const widths = head.map((title, at) => Math.max(title.length, ...body.map((line) => line[at].length)));
  const line = (cells) => `| ${cells.map((text, at) => (at ? text.padStart(widths[at]) : text.padEnd(widths[at]))).join(" | ")} |`;
  const rule = `|${widths.map((width, at) => (at ? `${"-".repeat(width + 1)}:` : "-".repeat(width + 2))).join("|")}|`;
  return [line(head), rule, ...body.map(line), "", "Warm, and cold in brackets; all but native as ratios to native's warm time."].join("\n");
}

/** The goals by group of rows, what was skipped, and where it was measured. */
export function summary({ about, rows }) {
  const lines = [];
  const hosts = ["chromium", "node"].filter((name) => about.hosts[name]);
  for (const [group, { title, must, goal }] of Object.entries(GROUPS)) {
    const members = rows.filter((row) => row.group === group);
    const told = hosts.map((name) => {
      const ratios = members.map((row) => [ratio(row, name), row.name]).filter(([value]) => value !== undefined);
      if (ratios.length === 0) return undefined;
      const [worst, row] = ratios.reduce((most, one) => (one[0] > most[0] ? one : most));
      return `${about.hosts[name].title} ${figure(mean(ratios.map(([value]) => value)))}${ratios.length > 1 ? ` (${row} ${figure(worst)})` : ""}`;
    });
    if (told.some(Boolean)) lines.push(`- ${title}: must ${must}, goal ${goal}; ${told.filter(Boolean).join(", ")}`);
  }
  const behind = rows.filter((row) => ratio(row, "chromium") > ratio(row, "v86")).map((row) => row.name);
  if (about.hosts.v86) lines.push(`- slower than v86: ${behind.length ? behind.join(", ") : "no row"}`);
  const wrong = rows.flatMap((row) => Object.entries(row.hosts).filter(([, { wrong }]) => wrong).map(([name]) => `${row.name} on ${name}`));
  if (wrong.length) lines.push(`- computed another value than native: ${wrong.join(", ")}`);
  const failed = rows.flatMap((row) => Object.entries(row.hosts).filter(([, { error }]) => error).map(([name, { error }]) => `${row.name} on ${name} (${error})`));
  if (failed.length) lines.push(`- failed: ${failed.join(", ")}`);
  if (about.skipped.length) lines.push(`- skipped: ${about.skipped.join("; ")}`);
  const code = generated({ about, rows });
  if (code) lines.push(`- ${code}`);
  const versions = Object.values(about.hosts).map(({ version }) => version).filter(Boolean);
  lines.push(`- measured ${about.date} on ${about.processor}${about.quick ? ", quick" : ""}; ${versions.join("; ")}`);
  return lines.join("\n");
}

/** What code the rows in Chromium made, which run in one machine; undefined where they did not run. */
export function generated({ about, rows }) {
  const profile = about.figures?.profile;
  if (!profile) return undefined;
  const seconds = rows.flatMap((row) => row.hosts.chromium?.times ?? []).reduce((sum, ms) => sum + ms, 0) / 1000;
  const [compiled, emitted, ms] = ["guest bytes compiled", "wasm bytes emitted", "compile ms"].map((name) => profile[name] ?? 0);
  if (!seconds || !compiled) return undefined;
  return [
    `code in Chromium: ${figure(emitted / compiled)} bytes of WebAssembly for a byte of x86`,
    `${figure(ms / seconds)} ms of compiling in a second of guest time (longest ${figure(profile["longest compile ms"])} ms)`,
    `${figure(profile["code bytes"] / 2 ** 20)} MiB of it in ${profile.modules} modules at the end`,
  ].join(", ");
}
