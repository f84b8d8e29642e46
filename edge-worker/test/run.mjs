// Runs the tests of the built Worker in workerd: `node edge-worker/test/run.mjs [--filter TEXT] [--store DIR] [--vmrun FILE]
// [--image-tools FILE]`.
//
// A test asks the world for Workers; they are stopped after it. Without the programs, the tests of the real clients are
// left out.

import { parseArgs } from "node:util";

import { runTests } from "../../tests/runner.mjs";
import { LocalWorker } from "../local.mjs";
import { Store } from "./store.mjs";

const { values: options } = parseArgs({
  options: {
    filter: { type: "string" },
    store: { type: "string" },
    vmrun: { type: "string" },
    "image-tools": { type: "string" },
  },
});

class World {
  #ends = [];
  #store;
  #demo;
  workers = [];
  options = options;

  /** The store that tests share; none of them changes it. */
  async store() {
    this.#store ??= await Store.make();
    return this.#store;
  }

  /** A store of the test's own. */
  async newStore(settings) {
    const store = await Store.make(settings);
    this.#ends.push(() => store.remove());
    return store;
  }

  async worker(settings = {}) {
    const worker = await LocalWorker.start({ store: (await this.store()).folder, ...settings });
    this.workers.push(worker);
    this.#ends.push(() => worker.stop());
    return worker;
  }

  /** A Worker over the demo image's store, which all tests of it share: filling its bucket takes longer than they do. */
  async demo(vars = {}) {
    this.#demo ??= await LocalWorker.start({ store: options.store });
    await this.#demo.become(vars);
    this.workers.push(this.#demo);
    return this.#demo;
  }

  defer(end) {
    this.#ends.push(end);
  }

  async afterTest() {
    for (const end of this.#ends.splice(0).reverse()) await end();
    this.workers = [];
  }

  /** The end of the Workers' logs. */
  described() {
    return this.workers.flatMap((worker) => worker.log).slice(-40).join("");
  }

  async stop() {
    await this.#demo?.stop();
    await this.#store?.remove();
  }
}

await runTests(new URL(".", import.meta.url), new World(), options.filter);
