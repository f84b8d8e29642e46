// A browser that is killed while its guest writes: `cargo xtask durability --browser-kills` does the same for longer.

import { dirname, join } from "node:path";

import { killBrowsers } from "../durability/browser/kills.mjs";

export function tests(test, world) {
  test("what was synced is there after the browser was killed", async () => {
    const imageTools = join(dirname(world.blockServer), "image-tools");
    await killBrowsers({ url: world.server.url, imageTools, count: 2, seed: 1 });
  }, { seconds: 240 });
}
