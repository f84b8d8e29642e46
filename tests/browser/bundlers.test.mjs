// The example projects, built as their README says from the packed npm package, in a real browser.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { BlockServer, root, store, until } from "./world.mjs";

const run = promisify(execFile);

/** A copy of an example in a folder of its own, with the package installed as npm would unpack it. */
async function project(world, name, tools) {
  const folder = await mkdtemp(join(tmpdir(), "skiff-example-"));
  world.defer(() => rm(folder, { recursive: true, force: true }));
  await cp(`${root}examples/${name}`, folder, { recursive: true });
  const modules = join(folder, "node_modules");
  await mkdir(modules);
  // Packing shows whether every file that is needed is named in package.json.
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: `${root}vm-client/browser/npm` });
  const [{ filename }] = JSON.parse(stdout);
  await run("tar", ["-xzf", join(folder, filename), "-C", modules]);
  await run("mv", [join(modules, "package"), join(modules, "skiff-vm")]);
  for (const tool of tools) await symlink(`${root}node_modules/${tool}`, join(modules, tool));
  return folder;
}

export function tests(test, world) {
  test("esbuild bundles the package, and it runs under a strict policy", async () => {
    const folder = await project(world, "esbuild", ["esbuild"]);
    await run(process.execPath, ["build.mjs", join(folder, "dist")], { cwd: folder });
    const server = await BlockServer.start(world.blockServer, store, undefined, join(folder, "dist"));
    world.defer(() => server.stop());
    const tab = await world.tab({ url: server.url });
    const refused = [];
    tab.page.on("console", (line) => /Content.Security.Policy/.test(line.text()) && refused.push(line.text()));
    const shown = () => tab.page.locator("#output").innerText();
    await until(async () => (await shown()) !== "", "the output", 40_000);
    assert.equal(await shown(), "apple\npear\n");
    assert.deepEqual(refused, []);
  }, { seconds: 90 });
}
