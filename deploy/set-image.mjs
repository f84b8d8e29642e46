// Names the image that a built page boots: `node deploy/set-image.mjs SITE_DIR IMAGE [TITLE]`.
//
// IMAGE is as everywhere, STORE_OR_URL/name[@tag|@b3:HASH]; a store in a path is relative to the page.

import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

const [site, image, title] = process.argv.slice(2);
if (!site || !image) throw new Error("usage: node deploy/set-image.mjs SITE_DIR IMAGE [TITLE]");
const file = join(site, "index.html");
const html = await readFile(file, "utf8");
const found = html.match(/(<script type="application\/json" id="config">)([\s\S]*?)(<\/script>)/);
if (!found) throw new Error(`${file} has no configuration`);
const config = JSON.parse(found[2]);
config.image = image;
// Changes belong to an image: another one must not find them.
config.overlay = image.replace(/^.*\//, "").replace(/@.*$/, "");
if (title) config.title = title;
const text = JSON.stringify(config, null, 2).replaceAll("<", "\\u003c");
await writeFile(file, html.replace(found[0], () => `${found[1]}\n${text}\n${found[3]}`));
// Servers that send files as they lie would send the old page.
for (const twin of [".br", ".gz"]) await rm(file + twin, { force: true });
