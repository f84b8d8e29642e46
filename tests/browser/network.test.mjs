// Networks that fail, and what the guest and the person notice of it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { HttpProxy, TcpProxy } from "./proxy.mjs";
import { BlockServer, freePort, site, store, until } from "./world.mjs";

export function tests(test, world) {
  test("a socket dropped in the middle of the boot is opened again", async () => {
    const proxy = await TcpProxy.start(world.server.port);
    world.defer(() => proxy.stop());
    proxy.cutAfter = 400_000;
    const tab = await world.tab({ url: proxy.url });
    await until(() => proxy.dropped >= 2, "two cut connections");
    proxy.cutAfter = null;
    await tab.prompt();
    assert.equal((await tab.run("echo booted")).output, "booted");
  });

  test("a server that goes away is waited for", async () => {
    const server = await BlockServer.start(world.blockServer, store);
    world.defer(() => server.stop());
    const tab = await world.shell({ url: server.url });
    await server.stop();
    const reading = tab.run("cat /usr/share/vim/vim90/doc/*.txt | md5sum", 60_000);
    await until(async () => /server/.test((await tab.banners()).join()), "the banner");
    assert.match(await tab.page.locator("#disk").innerText(), /waiting/);
    // The page and programs in memory go on.
    const again = await BlockServer.start(world.blockServer, store, server.port);
    world.defer(() => again.stop());
    const { output, status } = await reading;
    assert.equal(status, 0);
    assert.match(output, /^[0-9a-f]{32} {2}-$/);
    await until(async () => (await tab.banners()).length === 0, "the banner to go");
  }, { seconds: 120 });

  test("a corrupted chunk is refused and named", async () => {
    const proxy = await HttpProxy.start(world.server.port);
    world.defer(() => proxy.stop());
    const tab = await world.shell({ url: proxy.url });
    let victim = null;
    proxy.damage = (path) => {
      if (!path.includes("/o/")) return false;
      victim ??= path;
      return path === victim;
    };
    const { output, status } = await tab.run("cat /usr/share/vim/vim90/doc/*.txt | wc -c; echo ${PIPESTATUS[0]}", 60_000);
    assert.ok(victim, "no chunk was fetched");
    assert.equal(status, 0);
    assert.match(output, /Input\/output error/);
    const words = await until(async () => (await tab.banners()).join(), "the banner");
    assert.match(words, /chunk \d+/);
    assert.match(words, /debian/);
    assert.match(words, /corrupt|does not match/);
    // The rest of the disk is as good as before.
    assert.equal((await tab.run("cat /etc/hostname")).output, "skiff");
  }, { seconds: 120 });

  test("a static host serves client and store over HTTP alone", async () => {
    const folder = await mkdtemp(join(tmpdir(), "skiff-static-"));
    world.defer(() => rm(folder, { recursive: true }));
    for (const from of [site, store]) {
      for (const name of await readdir(from)) await symlink(join(from, name), join(folder, name));
    }
    const port = await freePort();
    const host = spawn("python3", ["-m", "http.server", "--bind", "127.0.0.1", String(port)], { cwd: folder, stdio: "ignore" });
    world.defer(async () => {
      const gone = once(host, "exit");
      host.kill();
      await gone;
    });
    await until(() => fetch(`http://127.0.0.1:${port}/`).then((reply) => reply.ok, () => false), "the static host");
    const tab = await world.shell({ url: `http://127.0.0.1:${port}/` });
    assert.equal((await tab.run("cat /etc/hostname")).output, "skiff");
  });

  test("an image that is not there is an error in words", async () => {
    const tab = await world.tab({ url: `${world.server.url}?image=./nosuchimage` });
    await until(async () => (await tab.page.locator("#boot-title").innerText()) === "There is no such image", "the error");
    assert.match(await tab.page.locator("#boot-text").innerText(), /nosuchimage/);
  });

  test("Linux.create rejects instead of hanging", async () => {
    const tab = await world.shell();
    const codes = await tab.page.evaluate(async () => {
      const { constructor: Linux } = globalThis.skiff;
      const reason = (promise) => promise.then(() => "none", (error) => error.code);
      const bare = { type: "ext2", path: "/" };
      return [await reason(Linux.create({ mounts: [bare] })), await reason(Linux.create({ mounts: [{ type: "dir", path: "/" }] }))];
    });
    assert.deepEqual(codes, ["bad-argument", "bad-argument"]);
    // Without mounts the root is the page's own server, as CheerpX has it; this page has no worker file beside it, and says so.
    const bare = await tab.page.evaluate(() => globalThis.skiff.constructor.create({}).then(() => "none", (error) => error.message));
    assert.match(bare, /worker/);
  });
}
