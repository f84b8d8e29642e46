// Caches that have something wrong, and images that want a token: what stands between a store and a guest.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { HttpProxy } from "./proxy.mjs";
import { BlockServer, Buckets, store } from "./world.mjs";

const run = promisify(execFile);

/** A folder that is gone after the test. */
async function folder(world) {
  const path = await mkdtemp(join(tmpdir(), "skiff-tiers-"));
  world.defer(() => rm(path, { recursive: true, force: true }));
  return path;
}

export function tests(test, world) {
  for (const kind of ["directory", "bucket"]) {
    test(`a guest boots from a ${kind}, also when the server's disk cache was damaged and torn`, async () => {
      const cache = await folder(world);
      const words = ["--disk-cache", cache];
      let [place, vars] = [store, {}];
      if (kind === "bucket") {
        const root = await folder(world);
        await symlink(store, join(root, "disks"));
        const buckets = await Buckets.start(join(dirname(world.blockServer), "bucket"), root);
        world.defer(() => buckets.stop());
        [place, vars] = ["s3://disks", buckets.vars];
      }
      const first = await BlockServer.start(world.blockServer, place, undefined, undefined, undefined, words, vars);
      world.defer(() => first.stop());
      const tab = await world.shell({ url: first.url });
      await tab.page.close();
      await first.stop();
      const entries = await readdir(cache, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
      assert.ok(files.length > 20, `only ${files.length} objects were cached`);
      const whole = new Map();
      for (const [n, file] of files.entries()) {
        const bytes = await readFile(file);
        whole.set(file, Buffer.from(bytes));
        if (n % 2) {
          await truncate(file, bytes.length >> 1);
        } else {
          bytes[bytes.length >> 1] ^= 1;
          await writeFile(file, bytes);
        }
      }
      const second = await BlockServer.start(world.blockServer, place, first.port, undefined, undefined, words, vars);
      world.defer(() => second.stop());
      const again = await world.shell({ url: second.url });
      assert.equal((await again.run("cat /etc/hostname")).output, "skiff");
      assert.deepEqual(again.errors, []);
      const healed = [];
      for (const [file, bytes] of whole) if ((await readFile(file)).equals(bytes)) healed.push(file);
      assert.ok(healed.length > 20, `only ${healed.length} of ${files.length} are right again`);
    }, { seconds: 180 });
  }

  test("a guest boots although the browser's own cache has every object wrong", async () => {
    const proxy = await HttpProxy.start(world.server.port);
    world.defer(() => proxy.stop());
    const asked = new Set();
    proxy.damage = (path) => {
      if (path.includes("/o/")) asked.add(path);
      return false;
    };
    const healthy = await world.shell({ url: proxy.url });
    await healthy.page.close();
    assert.ok(asked.size > 20, `only ${asked.size} objects`);
    // Another browser, which got them all wrong and keeps them: they are immutable.
    const context = await world.context();
    const page = await context.newPage();
    await page.goto(`${proxy.url}healthz`);
    proxy.damage = (path) => path.includes("/o/");
    const paths = [...asked];
    await page.evaluate(async (paths) => {
      for (const path of paths) await (await fetch(path)).arrayBuffer();
    }, paths);
    const again = new Set();
    proxy.damage = (path) => {
      again.add(path);
      return false;
    };
    await page.evaluate(async (path) => (await fetch(path)).arrayBuffer(), paths[0]);
    assert.ok(!again.has(paths[0]), "nothing was cached, so nothing is tested");
    const tab = await world.shell({ context, url: proxy.url });
    assert.equal((await tab.run("cat /etc/hostname")).output, "skiff");
    assert.ok(paths.filter((path) => again.has(path)).length > 20, "the wrong objects were not asked for again");
    assert.deepEqual(await tab.banners(), []);
  }, { seconds: 180 });

  test("a private image wants its token", async () => {
    const stored = await folder(world);
    await mkdir(join(stored, "p"));
    await symlink(store, join(stored, "p/acme"));
    const secrets = join(stored, "secrets");
    await writeFile(secrets, "a secret of the tests alone, long enough to be one\n");
    const words = ["--token-secrets", secrets];
    const server = await BlockServer.start(world.blockServer, stored, undefined, undefined, undefined, words);
    world.defer(() => server.stop());
    const issue = async (tenant) => (await run(world.blockServer, ["token", "--tenant", tenant, "--hours", "1", ...words])).stdout.trim();
    const tab = await world.shell();
    const open = (token) =>
      tab.page.evaluate(async ({ url, token }) => {
        const { CloudDevice, Linux, newWorker, wasm } = skiff.api;
        const dev = await CloudDevice.create(url, { token });
        if (JSON.stringify(dev).includes(token ?? "\0")) return "the device shows its token";
        let linux;
        try {
          linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: newWorker(), wasm });
        } catch (error) {
          return error.code;
        }
        const { stdout } = await linux.run("/bin/cat", ["/etc/hostname"], { stdout: "pipe" });
        await linux.setToken(token);
        await linux.delete();
        return new TextDecoder().decode(stdout);
      }, { url: `${server.url}p/acme/debian`, token });
    assert.equal(await open(undefined), "image-denied");
    assert.equal(await open("forged"), "image-denied");
    // A good token that does not name the tenant: the image is as if absent.
    assert.equal(await open(await issue("other")), "image-not-found");
    const token = await issue("acme");
    assert.equal(await open(token), "skiff\n");
    assert.ok(!server.log.includes(token), "the token is in the server's log");
    assert.deepEqual(tab.errors, []);
  }, { seconds: 180 });
}
