// `node tests/durability/browser/run.mjs --block-server FILE --image-tools FILE [--kills N] [--seed N]`

import { BlockServer, store } from "../../browser/world.mjs";
import { killBrowsers } from "./kills.mjs";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};
const server = await BlockServer.start(option("block-server"), store);
const seed = Number(option("seed", String(Date.now() % 1e6)));
console.log(`seed ${seed}`);
try {
  const count = Number(option("kills", "50"));
  const told = await killBrowsers({ url: server.url, imageTools: option("image-tools"), count, seed, say: console.log });
  console.log(`${told.kills} kills, ${told.promises} promises, every one kept; e2fsck had nothing to say`);
} finally {
  await server.stop();
}
