// Skiff's npm package in Node, by its command line: a machine of its own for each row.

import { run } from "./process.mjs";

export const title = "Skiff, Node";

export async function start({ store, cli, patienceMs, profile }) {
  const options = ["run", "--image", `${store}/bench`, "--env", "LANG=C", ...(profile ? ["--profile", profile] : [])];
  return {
    version: `Node ${process.version}`,
    run: (command) => run([process.execPath, cli, ...options, "--", ...command], { patienceMs }),
    stop: async () => {},
  };
}
