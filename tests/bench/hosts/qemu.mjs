// qemu's user-mode emulation. It redirects the paths of the program to the tree; what a program starts is started through it.

import { execFileSync } from "node:child_process";

import { run } from "./process.mjs";

export const title = "qemu-i386";

export async function start({ tree, patienceMs }) {
  const version = execFileSync("qemu-i386", ["--version"], { encoding: "utf8" }).split("\n")[0];
  // Whatever a script's own path goes through, the redirection does not see.
  const there = (word) => (word.startsWith("/bench/") ? `${tree}${word}` : word);
  return {
    version,
    run: ([program, ...words]) => {
      const launched = program === "/bench/launch";
      const env = launched ? { BENCH_THROUGH: `qemu-i386 -L ${tree}`, BENCH_TREE: tree } : {};
      // `launch` puts the tree before the command itself.
      const rest = launched ? [...words.slice(0, 4), ...words.slice(4).map(there)] : words.map(there);
      return run(["qemu-i386", "-L", tree, `${tree}${program}`, ...rest], { patienceMs, env });
    },
    stop: async () => {},
  };
}
