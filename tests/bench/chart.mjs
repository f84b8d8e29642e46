// The figures as one SVG: a bar for each host of each row, on a logarithmic scale, native being 1.

import { ratio } from "./report.mjs";

const COLOURS = { qemu: "#9aa5b1", node: "#7cc4a4", chromium: "#0b7a53", v86: "#d98e3a" };
const LEFT = 190;
const WIDTH = 860;
const RIGHT = 60;
const BAR = 7;
const GAP = 8;
const HEAD = 64;

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

export function chart({ about, rows }) {
  const hosts = Object.keys(COLOURS).filter((name) => about.hosts[name]);
  const values = rows.flatMap((row) => hosts.map((name) => ratio(row, name))).filter(Boolean);
  const lowest = Math.min(0.5, ...values);
  const highest = Math.max(20, ...values);
  const span = Math.log(highest) - Math.log(lowest);
  const x = (value) => LEFT + ((Math.log(value) - Math.log(lowest)) / span) * (WIDTH - LEFT - RIGHT);
  const rowHeight = hosts.length * BAR + GAP;
  const height = HEAD + rows.length * rowHeight + 20;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    `<text x="12" y="20" font-size="14" fill="#222">Times as ratios to native, warm (logarithmic; shorter is faster)</text>`,
  ];
  hosts.forEach((name, at) => {
    const left = 12 + at * 150;
    parts.push(`<rect x="${left}" y="30" width="10" height="10" fill="${COLOURS[name]}"/>`);
    parts.push(`<text x="${left + 15}" y="39" fill="#222">${escape(about.hosts[name].title)}</text>`);
  });
  for (let tick = 10 ** Math.ceil(Math.log10(lowest)); tick <= highest; tick *= 10) {
    for (const mark of [tick, tick * 2, tick * 5].filter((value) => value <= highest)) {
      const at = x(mark).toFixed(1);
      parts.push(`<line x1="${at}" x2="${at}" y1="${HEAD - 6}" y2="${height - 14}" stroke="${mark === 1 ? "#444" : "#e2e2e2"}"/>`);
      parts.push(`<text x="${at}" y="${HEAD - 9}" text-anchor="middle" fill="#666">${Number(mark.toPrecision(2))}</text>`);
    }
  }
  rows.forEach((row, index) => {
    const top = HEAD + index * rowHeight;
    parts.push(`<text x="${LEFT - 8}" y="${top + rowHeight / 2}" text-anchor="end" fill="#222">${escape(row.what.slice(0, 32))}</text>`);
    hosts.forEach((name, at) => {
      const value = ratio(row, name);
      const y = top + at * BAR;
      if (value === undefined) return;
      const [from, to] = [Math.min(x(1), x(value)), Math.max(x(1), x(value))];
      parts.push(`<rect x="${from.toFixed(1)}" y="${y}" width="${Math.max(1, to - from).toFixed(1)}" height="${BAR - 1}" fill="${COLOURS[name]}"/>`);
      const label = value >= 10 ? value.toFixed(0) : value.toFixed(1);
      if (name === "chromium") parts.push(`<text x="${(to + 4).toFixed(1)}" y="${y + BAR}" fill="#0b7a53">${label}</text>`);
    });
  });
  return `${parts.join("\n")}\n</svg>\n`;
}
