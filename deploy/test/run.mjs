// Runs the tests of what is deployed: `node deploy/test/run.mjs [--filter TEXT] [--target-dir DIR]
// [--dockerfile]`.
//
// No container engine, no cloud: files are checked against their formats, and what they do is done step by step.

import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { runTests } from "../../tests/runner.mjs";

const { values: options } = parseArgs({ options: { filter: { type: "string" }, "target-dir": { type: "string" }, dockerfile: { type: "boolean" } } });

class World {
  root = fileURLToPath(new URL("../../", import.meta.url));
  dockerfile = options.dockerfile;
  #ends = [];

  get targetDir() {
    return options["target-dir"] ?? join(this.root, "target");
  }

  defer(end) {
    this.#ends.push(end);
  }

  async folder() {
    const folder = await mkdtemp(join(tmpdir(), "skiff-deploy-"));
    this.defer(() => rm(folder, { recursive: true, force: true }));
    return folder;
  }

  async freePort() {
    const probe = createServer().listen(0, "127.0.0.1");
    await once(probe, "listening");
    const { port } = probe.address();
    probe.close();
    return port;
  }

  async afterTest() {
    for (const end of this.#ends.splice(0).reverse()) await end();
  }

  async stop() {}
}

await runTests(new URL(".", import.meta.url), new World(), options.filter);
