// Runs the tests of boot, persistence and the API in Firefox and WebKitGTK: `node --experimental-websocket tests/engines/run.mjs
// --block-server FILE [--engine firefox|webkit] [--filter TEXT]`. Without `--engine` both run at the same time, for each waits a lot.

import { spawn } from "node:child_process";
import { once } from "node:events";

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
const engine = option("engine");
const Engine = [Firefox, WebKit].find((one) => one.engine === engine);
if (!engine) {
  const words = [...process.execArgv, ...process.argv.slice(1)];
  const runs = [Firefox, WebKit].map(async (one) => {
    const run = spawn(process.execPath, [...words, "--engine", one.engine], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = [];
    run.stdout.on("data", (data) => lines.push(data));
    const [status] = await once(run, "close");
    // One after the other, so that what a failed test saw stays together.
    process.stdout.write(Buffer.concat(lines));
    return status;
  });
  process.exit((await Promise.all(runs)).every((status) => status === 0) ? 0 : 1);
}
if (!Engine) throw new Error(`there is no engine ${engine}; there are firefox and webkit`);
const browser = await Engine.start();
const ends = [];
const world = {
  blockServer,
  server: await BlockServer.start(blockServer, store),
  browsers: [[engine, browser]],
  defer: (end) => ends.push(end),
  async afterTest() {
    for (const end of ends.splice(0).reverse()) await end();
    await browser.afterTest();
  },
  async stop() {
    console.log(`${engine}: ${browser.version}`);
    await browser.stop();
    await this.server.stop();
  },
};
await runTests(new URL(".", import.meta.url), world, option("filter"));
