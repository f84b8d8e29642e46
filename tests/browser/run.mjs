// Runs the tests of the browser client: `node tests/browser/run.mjs --block-server FILE [--folder worker] [--filter TEXT]`.
// The folder `worker` has those that need the built Worker.
//
// They share one block-server with the demo store and one headless Chromium; each browser test gets a fresh browser
// context, so no test sees another's saved changes.

import { runTests } from "../runner.mjs";
import { World } from "./world.mjs";

const option = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};

const folder = option("folder") ? `./${option("folder")}/` : ".";
await runTests(new URL(folder, import.meta.url), await World.start(option("block-server")), option("filter"));
