// The example projects, built as their README says from the packed npm package, in a real browser.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { BlockServer, freePort, root, store, until } from "./world.mjs";

const run = promisify(execFile);

/** A copy of an example in a folder of its own, with the package packed and installed by npm, and tools of this repository. */
async function project(world, name, tools) {
  const folder = await mkdtemp(join(tmpdir(), "skiff-example-"));
  world.defer(() => rm(folder, { recursive: true, force: true }));
  await cp(`${root}examples/${name}`, folder, { recursive: true });
  // Packing shows whether every file that is needed is named in package.json.
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", folder], { cwd: `${root}vm-client/browser/npm` });
  const [{ filename }] = JSON.parse(stdout);
  // The example names a version in a registry; this one is a file. Tools come from here, so nothing is asked of the network.
  const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  manifest.dependencies = { "skiff-vm": `file:${filename}` };
  delete manifest.devDependencies;
  await writeFile(join(folder, "package.json"), JSON.stringify(manifest));
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--omit=peer"], { cwd: folder });
  const modules = join(folder, "node_modules");
  for (const tool of tools) {
    await mkdir(join(modules, tool, ".."), { recursive: true });
    await symlink(`${root}node_modules/${tool}`, join(modules, tool));
  }
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
  }, { seconds: 180 });

  test("Vite bundles the package without a configuration, and a lesson runs", async () => {
    const folder = await project(world, "vite", ["@xterm/xterm", "@xterm/addon-fit"]);
    await run(process.execPath, [`${root}node_modules/vite/bin/vite.js`, "build", folder], { cwd: folder });
    const assets = await readdir(join(folder, "dist/assets"));
    for (const kind of [/^worker-.*\.js$/, /^skiff_bg-.*\.wasm$/]) assert.ok(assets.some((name) => kind.test(name)), assets.join());
    const server = await BlockServer.start(world.blockServer, store, undefined, join(folder, "dist"));
    world.defer(() => server.stop());
    await lesson(server.url);
  }, { seconds: 180 });

  test("Vite's development server serves the package as it is", async () => {
    const folder = await project(world, "vite", ["@xterm/xterm", "@xterm/addon-fit"]);
    const port = await freePort();
    const words = [`${root}node_modules/vite/bin/vite.js`, "dev", folder, "--host", "127.0.0.1", "--port", String(port), "--strictPort"];
    const vite = spawn(process.execPath, words, { cwd: folder, stdio: "ignore" });
    world.defer(() => vite.kill("SIGKILL"));
    const url = `http://127.0.0.1:${port}/`;
    await until(() => fetch(url).then((reply) => reply.ok, () => false), "the development server");
    await lesson(`${url}?image=${encodeURIComponent(`${world.server.url}debian`)}`);
  }, { seconds: 180 });

  test("the installed package runs in Node", async () => {
    const folder = await project(world, "esbuild", []);
    const script = `import { CloudDevice, Linux } from "skiff-vm";
      import { imageUrl } from "skiff-vm/node";
      const dev = await CloudDevice.create(imageUrl(process.argv[1]));
      const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], memory: 64 << 20 });
      const { stdout } = await linux.run("cat", ["/etc/hostname"], { stdout: "pipe" });
      process.stdout.write(stdout);
      await linux.delete();`;
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script, `${store}/debian`], { cwd: folder });
    assert.equal(stdout, "skiff\n");
    const command = await run(join(folder, "node_modules/.bin/skiff"), ["run", "--image", `${store}/debian`, "--", "uname", "-m"], { cwd: folder });
    assert.equal(command.stdout, "i686\n");
  }, { seconds: 120 });

  async function lesson(url) {
    const tab = await world.tab({ url });
    const verdict = () => tab.page.locator("#verdict").innerText();
    await until(async () => /Sorted/.test(await verdict()), "the verdict", 60_000);
    assert.equal(await verdict(), "The machine runs. Sorted, the file reads: apple, fig, pear.");
    const screen = () => tab.page.evaluate(() => document.getElementById("terminal").shadowRoot.querySelector(".xterm-rows").innerText);
    await until(async () => /[#$]\s*$/.test((await screen()).trimEnd()), "the prompt");
    await tab.page.locator(".xterm-helper-textarea").focus();
    await tab.page.keyboard.type("sort fruit; echo lines $(wc -l < fruit)\n");
    await until(async () => /apple\s+fig\s+pear\s+lines 3/.test(await screen()), "what the reader typed");
  }
}
