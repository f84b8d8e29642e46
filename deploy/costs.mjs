// What boots cost at Cloudflare: `node deploy/costs.mjs` prints the table of deploy/README.md from `costs.json`, which
// `node deploy/measure-boot.mjs` writes. Prices are list prices without the monthly allowances, in US dollars.

import { readFile } from "node:fs/promises";

/** As read in November 2026. Sources: developers.cloudflare.com/workers/platform/pricing, /r2/pricing, /durable-objects/platform/pricing. */
export const PRICES = {
  base: 5, // a month, Workers Paid
  request: 0.3e-6,
  cpuMs: 0.02e-6,
  r2Read: 0.36e-6, // class B
  r2Write: 4.5e-6, // class A
  r2GbMonth: 0.015,
  objectRequest: 0.15e-6, // 20 incoming messages count as one
  objectGbSecond: 12.5e-6, // 128 MB each
};

/** What one boot makes of a deployment; each is a way to serve it. */
export function scenarios({ socket, http, object }) {
  const worker = (measured, misses) => ({
    requests: measured.requests,
    r2Reads: Math.round(measured.objects * misses + measured.records),
    dollars:
      measured.requests * PRICES.request +
      measured.cpuMs * PRICES.cpuMs +
      (measured.objects * misses + measured.records) * PRICES.r2Read,
  });
  const durable = worker(object, 0.05);
  durable.dollars +=
    (1 + object.messages / 20) * PRICES.objectRequest + object.activeSeconds * 0.128 * PRICES.objectGbSecond;
  const assets = worker({ ...http, records: 0 }, 0);
  return [
    ["R2, WebSocket, nothing cached", worker(socket, 1)],
    ["R2, WebSocket, 95 % of reads from memory and cache", worker(socket, 0.05)],
    ["R2, HTTP only, 95 % from memory and cache", worker(http, 0.05)],
    ["R2, WebSocket by Durable Objects, 95 %", durable],
    ["static assets, HTTP only", assets],
  ];
}

/** The table, as Markdown. */
export function table(measured) {
  const count = (number) => number.toLocaleString("en-US", { maximumFractionDigits: 0 });
  const dollars = (amount) => `$${amount >= 0.1 ? amount.toFixed(2) : amount.toFixed(4)}`;
  const rows = scenarios(measured).map(([name, one]) => {
    const cells = [1000, 1_000_000].map((boots) => [
      count(one.requests * boots),
      count(one.r2Reads * boots),
      dollars(one.dollars * boots),
    ]);
    return `| ${name} | ${cells.flat().join(" | ")} |`;
  });
  const { chunks, bytes } = measured.store;
  const storage = [
    `| kept for a month: ${count(chunks)} objects, ${count(bytes / 1e6)} MB in R2 | | | ${dollars((bytes / 1e9) * PRICES.r2GbMonth)} | | | ${dollars((bytes / 1e9) * PRICES.r2GbMonth)} |`,
    `| uploaded once | | | ${dollars(chunks * PRICES.r2Write)} | | | ${dollars(chunks * PRICES.r2Write)} |`,
  ];
  return [
    "| | requests, 1,000 boots | R2 reads | cost | requests, 1,000,000 boots | R2 reads | cost |",
    "|---|---|---|---|---|---|---|",
    ...rows,
    ...storage,
  ].join("\n");
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const measured = JSON.parse(await readFile(new URL("costs.json", import.meta.url), "utf8"));
  console.log(table(measured));
}
