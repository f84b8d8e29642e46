// Guests that read files through a network, in vmrun and in a browser.

import { spawn } from "node:child_process";
import { once } from "node:events";

import { Comparison } from "./golden.mjs";

/**
 * Reads files in a fresh machine of vmrun, whose standard output brings what the guest saw. `onData` is told whenever some of it
 * comes. Resolves to the comparison, the exit status and what `--report` said.
 */
export async function readWithVmrun(vmrun, url, files, { onData, onStart }) {
  const comparison = new Comparison(files);
  const words = ["--image", `${url}debian`, "--memory", "192", "--no-tty", "--report", "--", "/usr/bin/xargs", "-d", "\\n", "cat", "--"];
  const child = spawn(vmrun, words, { stdio: ["pipe", "pipe", "pipe"] });
  onStart?.(child);
  let said = "";
  child.stderr.on("data", (data) => (said = (said + data).slice(-20_000)));
  child.stdout.on("data", (data) => {
    comparison.push(data);
    onData?.(data.length);
  });
  child.stdin.on("error", () => {});
  child.stdin.end(files.map(({ path }) => path).join("\n"));
  const [status, signal] = await once(child, "close");
  const figure = (pattern) => Number(pattern.exec(said)?.[1] ?? 0);
  return {
    comparison,
    status: status ?? signal,
    said,
    refused: figure(/objects refused: +(\d+)/),
    garbled: figure(/\((\d+) garbled\)/),
    received: figure(/objects received: +(\d+)/),
    lost: figure(/connections lost: +(\d+)/),
  };
}

/** Reads files in the machine of a tab; the bytes that programs saw are hashed by the page. Returns paths that were wrong. */
export async function readInTab(page, files) {
  const sums = await page.evaluate(async (paths) => {
    const sums = [];
    for (const path of paths) {
      const { stdout, stderr, status } = await globalThis.skiff.run("/bin/cat", ["--", path], { stdout: "pipe", stderr: "pipe" });
      const sum = await crypto.subtle.digest("SHA-256", stdout);
      const text = Array.from(new Uint8Array(sum), (byte) => byte.toString(16).padStart(2, "0")).join("");
      sums.push(status === 0 ? text : `status ${status}: ${new TextDecoder().decode(stderr)}`);
      globalThis.filesRead = (globalThis.filesRead ?? 0) + 1;
    }
    return sums;
  }, files.map(({ path }) => path));
  return files.flatMap(({ path, sum }, index) => (sums[index] === sum ? [] : [`${path}: ${sums[index]}`]));
}
