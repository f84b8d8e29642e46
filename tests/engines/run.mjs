// Runs the tests of boot, persistence and the API in Firefox and WebKitGTK: `node --experimental-websocket tests/engines/run.mjs
// --block-server FILE [--engine firefox|webkit] [--filter TEXT]`.

import { BlockServer, store } from "../browser/world.mjs";
import { runTests } from "../runner.mjs";
import { Firefox } from "./firefox.mjs";
import { WebKit } from "./webkit.mjs";

const option = (name) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};

const blockServer = option("block-server");
if (!blockServer) throw new Error("--block-server must name the built server");
const wanted = option("engine");
const browsers = [];
for (const Engine of [Firefox, WebKit]) if (!wanted || wanted === Engine.engine) browsers.push(await Engine.start());
const ends = [];
const world = {
  blockServer,
  server: await BlockServer.start(blockServer, store),
  browsers: browsers.map((browser) => [browser.constructor.engine, browser]),
  defer: (end) => ends.push(end),
  async afterTest() {
    for (const end of ends.splice(0).reverse()) await end();
    for (const browser of browsers) await browser.afterTest();
  },
  async stop() {
    for (const browser of browsers) {
      console.log(`${browser.constructor.engine}: ${browser.version}`);
      await browser.stop();
    }
    await this.server.stop();
  },
};
await runTests(new URL(".", import.meta.url), world, option("filter"));
