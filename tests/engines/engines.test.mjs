// Boot, persistence and the API, in every engine that is not Chromium's. What differs there is in the package's README.

import assert from "node:assert/strict";

import { PlainHost } from "../browser/plain.mjs";
import { until } from "../browser/world.mjs";

export function tests(add, world) {
  for (const [engine, browser] of world.browsers) {
    const test = (name, body, seconds = 240) => add(`${engine}: ${name}`, body, { seconds });
    const boot = async (like) => {
      const tab = await browser.tab(world.server.url, { like });
      await tab.prompt();
      return tab;
    };

    test("boots to a prompt and runs what is typed, with compiled code", async () => {
      const tab = await boot();
      await tab.line("echo typed $((6*7))");
      await tab.sees(/\ntyped 42\n/);
      assert.equal(await tab.shell("uname -sm; stty size | wc -w"), "Linux i686\n2");
      assert.equal(await tab.shell("i=0; while [ $i -lt 4000 ]; do i=$((i+1)); done; echo $i"), "4000");
      const profile = await tab.evaluate(() => globalThis.skiff.profile());
      const compiled = Object.entries(profile).filter(([name, value]) => /compiled|modules/.test(name) && value > 0);
      assert.ok(compiled.length, `nothing was compiled: ${JSON.stringify(profile)}`);
      // Keys that are not letters reach the guest.
      await tab.line("cat > /dev/null");
      await tab.press("a", "b");
      await tab.act([{ type: "key", id: "keyboard", actions: [
        { type: "keyDown", value: "\ue009" }, { type: "keyDown", value: "c" }, { type: "keyUp", value: "c" }, { type: "keyUp", value: "\ue009" },
      ] }]);
      await tab.prompt();
      assert.equal(await tab.shell("echo $?"), "130");
    });

    test("changes survive a reload, and a second tab is told", async () => {
      const tab = await boot();
      await tab.shell("seq 1 9000 > /root/numbers; sync");
      const sum = await tab.shell("md5sum < /root/numbers");
      assert.equal(await tab.evaluate(() => globalThis.skiff.disk.persistent), true);
      await tab.reload();
      await tab.prompt();
      assert.equal(await tab.shell("md5sum < /root/numbers"), sum);
      const second = await boot(tab);
      const banners = await second.evaluate(() => [...document.querySelectorAll(".banner span")].map((banner) => banner.textContent));
      assert.ok(banners.some((words) => /Another tab is using this disk/.test(words)), banners.join());
      assert.equal(await second.evaluate(() => globalThis.skiff.disk.persistent), false);
    });

    test("files go in and out, and are watched", async () => {
      const tab = await boot();
      const said = await tab.evaluate(async () => {
        const { fs } = globalThis.skiff;
        await fs.mkdir("/root/w");
        const events = [];
        const watch = await fs.watch("/root/w", ({ type, name }) => events.push(`${type} ${name}`));
        await fs.writeFile("/root/w/a", new Blob(["x".repeat(1_500_000), "\n"]));
        await fs.rename("/root/w/a", "/root/w/b");
        watch.close();
        const { size } = await fs.stat("/root/w/b");
        const { errno } = await fs.readFile("/root/none").catch((error) => error);
        const got = new Promise((resolve) => globalThis.skiff.registerCallback("download", async ({ name, blob }) => resolve([name, (await blob()).size])));
        await globalThis.skiff.run("/bin/sh", ["-c", "printf %s /root/w/b > /dev/skiff"], { stdout: "pipe" });
        return { size, errno, download: await got, names: await fs.readdir("/root/w"), events: events.filter((event) => !/modify/.test(event)) };
      });
      assert.deepEqual(said, {
        size: 1_500_001,
        errno: "ENOENT",
        download: ["b", 1_500_001],
        names: ["b"],
        events: ["create a", "close_write a", "moved_from a", "moved_to b"],
      });
    });

    test("programs have streams, signals and time limits; machines share a page", async () => {
      const tab = await boot();
      const said = await tab.evaluate(async () => {
        const { CloudDevice, IDBDevice, Linux, OverlayDevice, newWorker, wasm } = globalThis.skiff.api;
        const dev = await OverlayDevice.create(await CloudDevice.create("./debian"), await IDBDevice.create("second"));
        const other = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: newWorker(), wasm, memory: 64 << 20, timeZone: "host" });
        const text = (bytes) => new TextDecoder().decode(bytes);
        const sort = await other.spawn("sort", [], { stdin: "pipe", stdout: "pipe" });
        sort.write("b\na\n");
        sort.closeStdin();
        const { status, stdout } = await sort.ended;
        const late = await other.run("sleep", ["1000"], { stdout: "pipe", timeout: 300 });
        const { stdout: zone } = await other.run("/bin/sh", ["-c", "test -n \"$TZ\" && echo zone"], { stdout: "pipe" });
        await other.delete();
        const names = await IDBDevice.list();
        return [status, text(stdout), late.status, text(zone), names.includes("second")];
      });
      assert.deepEqual(said, [0, "a\nb\n", 143, "zone\n", true]);
    });

    test("a disk is exported, reset and imported", async () => {
      const tab = await boot();
      await tab.shell("seq 1 2000 > /root/kept; sync");
      const said = await tab.evaluate(async () => {
        const { IDBDevice } = globalThis.skiff.api;
        await globalThis.skiff.delete();
        const idb = await IDBDevice.create("debian");
        const file = await idb.export();
        await idb.reset();
        const gone = await idb.manifest();
        const { pages } = await idb.import(file);
        return [gone, pages > 1];
      });
      assert.deepEqual(said, [null, true]);
      await tab.reload();
      await tab.prompt();
      assert.equal(await tab.shell("tail -n 1 /root/kept"), "2000");
    });

    test("the element runs a lesson", async () => {
      const html = `<!doctype html><meta charset="utf-8"><script type="module" src="/skiff-terminal.js"></script>
        <skiff-terminal image="/debian" disk="lesson" memory="64" cmd="echo hello; read x; echo got $x; exit 3"></skiff-terminal>`;
      const tab = await browser.tab(`${world.server.url}healthz`);
      await tab.evaluate((html) => {
        document.open();
        document.write(html);
        document.close();
      }, html);
      const screen = () => tab.evaluate(() => document.querySelector("skiff-terminal")?.shadowRoot?.querySelector(".xterm-rows")?.innerText ?? "");
      await until(async () => /hello/.test(await screen()), "the lesson", 90_000);
      await tab.evaluate(() => document.querySelector("skiff-terminal").shadowRoot.querySelector(".xterm-helper-textarea").focus());
      await tab.press("a", "b", "Enter");
      await until(async () => /got ab/.test(await screen()), "the answer");
    });

    test("disks and directories of every kind are mounted", async () => {
      const host = await PlainHost.start();
      world.defer(() => host.stop());
      host.files.set("/files/index.list", "one\n");
      host.files.set("/files/one", "from the web\n");
      const tab = await browser.tab(host.url);
      const said = await tab.evaluate(async () => {
        const api = await import("/npm/index.js");
        const data = await api.DataDevice.create();
        await data.writeFile("/note", "from the page\n");
        const files = await api.IDBDevice.create("files");
        const below = await api.OverlayDevice.create(await api.HttpBytesDevice.create("/debian.ext2"), await api.IDBDevice.create("below"));
        const start = async (dev) => api.Linux.create({
          memory: 64 << 20,
          mounts: [
            { type: "ext2", path: "/", dev },
            { type: "dir", path: "/web", dev: await api.WebDevice.create("/files") },
            { type: "dir", path: "/data", dev: data },
            { type: "dir", path: "/files", dev: files },
          ],
        });
        const sh = async (linux, command) => new TextDecoder().decode((await linux.run("/bin/sh", ["-c", command], { stdout: "pipe" })).stdout);
        let linux = await start(below);
        const first = await sh(linux, "cat /etc/hostname /web/one /data/note; echo kept > /files/a; echo below > /root/b; sync");
        await linux.delete();
        linux = await start(await api.OverlayDevice.create(below, await api.IDBDevice.create("above")));
        const second = await sh(linux, "cat /root/b /files/a; echo above > /root/b; sync; cat /root/b");
        const blob = await files.readFileAsBlob("/a");
        await linux.delete();
        return [first, second, await blob.text()];
      });
      assert.deepEqual(said, ["webvm\nfrom the web\nfrom the page\n", "below\nkept\nabove\n", "kept\n"]);
    });
  }
}
