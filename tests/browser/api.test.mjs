// The API's edges: options, several machines, moving a disk, crashes.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { PlainHost } from "./plain.mjs";
import { root, store, until } from "./world.mjs";

const text = (bytes) => new TextDecoder().decode(bytes);

async function nodeMachine(world, options = {}) {
  const { CloudDevice, Linux } = await import(`${root}vm-client/browser/npm/index.js`);
  const { imageUrl, inProcess } = await import(`${root}vm-client/browser/npm/node.js`);
  const dev = new CloudDevice(imageUrl(`${store}/debian`));
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: inProcess(), ...options });
  world.defer(() => linux.delete());
  const sh = async (command, more) => text((await linux.run("/bin/sh", ["-c", command], { stdout: "pipe", ...more })).stdout);
  return { linux, sh };
}

/** Has the next turn of a tab's machine trap when `crash()` is called there, as a bug in the wasm module would. */
const trapDoor = async (page) => {
  await page.addInitScript(() => {
    globalThis.Worker = class extends Worker {
      constructor(...words) {
        super(...words);
        globalThis.crash = () => super.postMessage({ type: "online", trap: true });
      }
    };
  });
  await page.route(/worker-.*\.js/, async (route) => {
    const reply = await route.fetch();
    const trap = 'self.addEventListener("message",(e)=>{if(e.data.trap)globalThis.trap=true});';
    const body = (await reply.text()).replace(/\bturn\((\w+)\)\s*\{/, 'turn($1){if(globalThis.trap)throw new WebAssembly.RuntimeError("unreachable");');
    await route.fulfill({ response: reply, body: trap + body });
  });
};

export function tests(test, world) {
  test("memory, time zone, locale and terminal size are options", async () => {
    const { linux, sh } = await nodeMachine(world, {
      memory: 96 << 20, timeZone: "Europe/Berlin", locale: "C.UTF-8", columns: 101, rows: 33,
    });
    const total = Number(/MemTotal: +(\d+) kB/.exec(await sh("cat /proc/meminfo"))[1]);
    assert.ok(total <= 96 * 1024 && total > 80 * 1024, `${total} kB`);
    assert.equal(await sh("date -d @0 +%H:%M%z; echo $LANG"), "01:00+0100\nC.UTF-8\n");
    assert.equal(await sh("date -d @0 +%z; echo $LANG", { env: ["PATH=/bin", "TZ=UTC", "LC_ALL=C"] }), "+0000\n\n");
    await linux.run("/bin/sh", ["-c", "stty size > /tmp/size"]);
    assert.equal(await linux.fs.readFile("/tmp/size", "utf8"), "33 101\n");
  });

  test("machines in one thread share nothing, and one that is deleted leaves the others alone", async () => {
    const machines = await Promise.all([1, 2, 3].map(() => nodeMachine(world, { memory: 64 << 20 })));
    await Promise.all(machines.map(({ sh }, index) => sh(`echo ${index} > /root/who`)));
    const said = await Promise.all(machines.map(({ sh }) => sh("cat /root/who")));
    assert.deepEqual(said, ["0\n", "1\n", "2\n"]);
    const endless = machines[1].linux.run("/bin/sleep", ["1000"], { stdout: "pipe" });
    const gone = assert.rejects(endless, { code: "closed" });
    await machines[1].linux.delete();
    await gone;
    assert.equal(await machines[0].sh("sleep 0.1; cat /root/who"), "0\n");
    assert.equal(await machines[2].sh("cat /root/who; cat /etc/hostname"), "2\nskiff\n");
  });

  test("machines that are deleted give their memory back", async () => {
    // Together they would need 10 GiB, more than one wasm memory can have.
    for (let number = 0; number < 20; number += 1) {
      const { linux, sh } = await nodeMachine(world, { memory: 512 << 20 });
      assert.equal(await sh(`sleep 1000 > /dev/null 2>&1 & cat /etc/hostname | sort; echo ${number}`), `skiff\n${number}\n`);
      await linux.delete();
    }
  }, { seconds: 150 });

  test("each virtual terminal has its own screen", async () => {
    const { linux } = await nodeMachine(world);
    const screens = { 1: "", 2: "" };
    linux.setCustomConsole((data, vt) => void (screens[vt] += text(data)), 80, 24, 1);
    const type = linux.setCustomConsole((data, vt) => void (screens[vt] += text(data)), 40, 10, 2);
    const first = linux.run("/bin/sh", ["-c", "tty; stty size"]);
    const second = linux.run("/bin/sh", ["-c", "tty; stty size; read line; echo got $line"], { vt: 2 });
    await first;
    await until(() => screens[2].includes("10 40"), "the second terminal");
    for (const character of "hi \u{1f600}\r") for (let at = 0; at < character.length; at += 1) type(character.charCodeAt(at));
    assert.deepEqual(await second, { status: 0 });
    assert.equal(screens[1], "/dev/tty1\r\n24 80\r\n");
    assert.equal(screens[2], "/dev/tty2\r\n10 40\r\nhi \u{1f600}\r\ngot hi \u{1f600}\r\n");
  });

  test("Node that is given an indexedDB keeps disks, their files and disks upon disks, as a browser does", async () => {
    const { default: indexedDB } = await import("fake-indexeddb");
    const { default: IDBKeyRange } = await import("fake-indexeddb/lib/FDBKeyRange");
    Object.assign(globalThis, { indexedDB, IDBKeyRange });
    world.defer(() => {
      delete globalThis.indexedDB;
      delete globalThis.IDBKeyRange;
    });
    const { CloudDevice, IDBDevice, Linux, OverlayDevice } = await import(`${root}vm-client/browser/npm/index.js`);
    const { imageUrl } = await import(`${root}vm-client/browser/npm/node.js`);
    const below = await OverlayDevice.create(await CloudDevice.create(imageUrl(`${store}/debian`)), await IDBDevice.create("below"));
    const above = await OverlayDevice.create(below, await IDBDevice.create("above"));
    const files = await IDBDevice.create("files");
    const on = async (dev, command) => {
      const mounts = [{ type: "ext2", path: "/", dev }, { type: "dir", path: "/files", dev: files }];
      const linux = await Linux.create({ mounts, memory: 64 << 20 });
      const { stdout } = await linux.run("/bin/sh", ["-c", command], { stdout: "pipe" });
      const blob = await files.readFileAsBlob("/a");
      const said = [linux.disk.persistent, text(stdout), await blob?.text()];
      await linux.delete();
      return said;
    };
    assert.deepEqual(await on(below, "echo below > /root/b; echo kept > /files/a; sync"), [true, "", "kept\n"]);
    assert.deepEqual(await on(above, "cat /root/b; echo above > /root/b"), [true, "below\n", "kept\n"]);
    assert.deepEqual(await on(above, "cat /root/b /files/a; rm /files/a"), [true, "above\nkept\n", undefined]);
    assert.deepEqual(await IDBDevice.list(), ["above", "below", "files"]);
    // A file is read without a machine, too.
    assert.equal(await files.readFileAsBlob("/a"), null);
    // What is exported and imported is the same state: the disk above still fits.
    const moved = await below.idb.export();
    await below.idb.reset();
    assert.equal(await below.idb.manifest(), null);
    await below.idb.import(moved);
    assert.equal((await on(above, "cat /root/b"))[1], "above\n");
    // A disk that is changed below another is refused there.
    await on(below, "echo changed > /root/b; sync");
    await assert.rejects(on(above, "true"), { code: "overlay-mismatch" });
    await Promise.all([above.idb, below.idb, files].map((idb) => idb.reset()));
  });

  test("two machines live in one page", async () => {
    const tab = await world.shell();
    await tab.run("echo first > /root/who");
    const said = await tab.page.evaluate(async () => {
      const { CloudDevice, IDBDevice, Linux, OverlayDevice, newWorker, wasm } = globalThis.skiff.api;
      const dev = await OverlayDevice.create(await CloudDevice.create("./debian"), await IDBDevice.create("second"));
      const other = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: newWorker(), wasm, timeZone: "host" });
      await other.fs.writeFile("/root/who", "second");
      const { stdout } = await other.run("/bin/cat", ["/root/who"], { stdout: "pipe" });
      const said = [new TextDecoder().decode(stdout), await globalThis.skiff.fs.readFile("/root/who", "utf8")];
      await other.delete();
      return [...said, await IDBDevice.list()];
    });
    assert.deepEqual(said, ["second", "first\n", ["debian", "second"]]);
    assert.equal((await tab.run("cat /root/who")).output, "first");
  });

  test("the API works in a Web Worker", async () => {
    const host = await PlainHost.start();
    world.defer(() => host.stop());
    host.files.set("/outer.js", `
      import { DataDevice, HttpBytesDevice, IDBDevice, Linux, OverlayDevice } from "/npm/index.js";
      try {
        const dev = await OverlayDevice.create(await HttpBytesDevice.create("/debian.ext2"), await IDBDevice.create("worker"));
        const data = await DataDevice.create();
        await data.writeFile("/in", "inside\\n");
        const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }, { type: "dir", path: "/data", dev: data }], memory: 64 << 20 });
        await linux.fs.writeFile("/root/n", "file\\n");
        const { stdout } = await linux.run("/bin/sh", ["-c", "cat /data/in /root/n /etc/hostname"], { stdout: "pipe" });
        const { persistent } = linux.disk;
        await linux.delete();
        postMessage([new TextDecoder().decode(stdout), persistent, await IDBDevice.list()]);
      } catch (error) { postMessage(String(error.stack ?? error)); }`);
    const page = await (await world.context()).newPage();
    await page.goto(host.url);
    const said = await page.evaluate(() => new Promise((resolve) => {
      new Worker("/outer.js", { type: "module" }).onmessage = ({ data }) => resolve(data);
    }));
    assert.deepEqual(said, ["inside\nfile\nwebvm\n", true, ["worker"]]);
  });

  test("a frame of another site with storage blocked runs, and says that nothing is kept", async () => {
    const html = `<!doctype html><meta charset="utf-8"><script type="module" src="/skiff-terminal.js"></script>
      <skiff-terminal id="t" image="./debian" disk="framed" memory="64" cmd="echo in a frame; cat /etc/hostname; exec sleep 1000"></skiff-terminal>
      <script>document.addEventListener("notice", ({ detail }) => (window.notices ??= []).push(detail.code))</script>`;
    const framed = `${world.server.url}framed.html`;
    // Another site: 127.0.0.1 and localhost are two.
    const outer = `${world.server.url.replace("127.0.0.1", "localhost")}outer.html`;
    const context = await world.context();
    const page = await context.newPage();
    await page.route(framed, (route) => route.fulfill({ contentType: "text/html", body: html }));
    await page.route(outer, (route) => route.fulfill({ contentType: "text/html", body: `<!doctype html><iframe src="${framed}" width="900" height="500"></iframe>` }));
    // What a browser does with storage of other sites blocked: every use of it throws.
    await page.addInitScript(() => {
      if (location.hostname !== "127.0.0.1") return;
      globalThis.Worker = class extends Worker {
        constructor(url, options) {
          const code = `Object.defineProperty(self, "indexedDB", { get() { throw new DOMException("denied", "SecurityError"); } });
            const early = []; self.onmessage = (event) => early.push(event);
            await import(${JSON.stringify(new URL(url, location.href).href)}); for (const event of early) self.onmessage(event);`;
          super(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), options);
        }
      };
    });
    await page.goto(outer);
    const frame = await until(() => page.frames().find((each) => each.url() === framed), "the frame");
    const screen = () => frame.evaluate(() => document.getElementById("t").shadowRoot?.querySelector(".xterm-rows")?.innerText ?? "");
    await until(async () => /in a frame\s+skiff/.test(await screen()), "the program in the frame", 40_000);
    assert.deepEqual(await frame.evaluate(() => globalThis.notices), ["storage-blocked"]);
    assert.equal(await frame.evaluate(() => document.getElementById("t").linux.disk.persistent), false);
  });

  test("a disk is exported, reset and imported again", async () => {
    const tab = await world.shell();
    await tab.run("seq 1 300000 > /root/numbers; mkdir /root/d; ln -s ../numbers /root/d/l");
    const { output: sum } = await tab.run("md5sum < /root/d/l");
    const saved = tab.page.waitForEvent("download");
    await tab.page.click("#export");
    const download = await saved;
    assert.match(download.suggestedFilename(), /^debian-\d{4}-\d\d-\d\d\.skiff$/);
    const file = await readFile(await download.path());
    assert.equal(file.subarray(0, 8).toString(), "SKIFFDSK");

    const other = await world.shell();
    await other.run("echo here > /root/here; sync");
    const damaged = Buffer.from(file);
    damaged[damaged.length >> 1] ^= 1;
    const give = async (buffer) => {
      await other.page.setInputFiles("#import-file", { name: "a.skiff", mimeType: "", buffer });
      await other.page.click("#ask-yes");
    };
    await give(damaged);
    await until(async () => (await other.banners()).some((words) => /damaged: its checksum is wrong/.test(words)), "the refusal");
    await give(file.subarray(0, file.length - 5000));
    const short = `cut short: it has ${file.length - 5000} bytes of ${file.length}.`;
    await until(async () => (await other.banners()).some((words) => words.includes(short)), "the second refusal");
    await other.reload();
    assert.equal((await other.run("cat /root/here")).output, "here");
    const navigated = other.page.waitForNavigation();
    await give(file);
    await navigated;
    await other.prompt();
    assert.equal((await other.run("md5sum < /root/d/l")).output, sum);
    assert.equal((await other.run("cat /root/here")).status, 1);
  }, { seconds: 120 });

  test("an import that was interrupted says so", async () => {
    const tab = await world.shell();
    await tab.run("echo x > /root/x; sync");
    await tab.page.evaluate(async () => {
      await globalThis.skiff.delete();
      const open = indexedDB.open("skiff:debian");
      const db = await new Promise((resolve) => (open.onsuccess = () => resolve(open.result)));
      const change = db.transaction("meta", "readwrite");
      const meta = change.objectStore("meta");
      const get = meta.get("head");
      get.onsuccess = () => meta.put({ ...get.result, importing: true }, "head");
      await new Promise((resolve) => (change.oncomplete = resolve));
      db.close();
    });
    await tab.page.reload();
    await until(async () => /import of this disk was interrupted/.test(await tab.page.locator("#boot-text").innerText()), "the words");
  });

  test("the browser is asked to keep the disk at the first change, and its answer is shown", async () => {
    const tab = await world.shell({
      hooks: (page) => page.addInitScript(() => {
        globalThis.asked = 0;
        navigator.storage.persisted = async () => false;
        navigator.storage.persist = async () => ((globalThis.asked += 1), false);
      }),
    });
    await tab.run("echo x > /root/x; sync; echo y > /root/y; sync");
    await until(async () => /while there is room/.test(await tab.page.locator("#mode").innerText()), "the answer");
    assert.equal(await tab.page.evaluate(() => globalThis.asked), 1);
    assert.equal(await tab.page.evaluate(() => globalThis.skiff.disk.persistence), "denied");
  });

  test("a crash of the machine is told, and after a restart the disk is whole", async () => {
    const tab = await world.shell({ hooks: trapDoor });
    await tab.run("seq 1 1000 > /root/kept; sync");
    await tab.page.evaluate(() => {
      globalThis.told = [];
      globalThis.skiff.registerCallback("crash", (failure) => globalThis.told.push(failure.code));
      globalThis.pending = globalThis.skiff.run("/bin/sleep", ["1000"], { stdout: "pipe" }).catch((error) => error.code);
      globalThis.crash();
    });
    await until(async () => (await tab.banners()).some((words) => /The machine stopped: .*unreachable/.test(words)), "the banner");
    assert.deepEqual(await tab.page.evaluate(async () => [await globalThis.pending, globalThis.told]), ["crashed", ["crashed"]]);
    const refused = await tab.page.evaluate(() => globalThis.skiff.fs.readFile("/etc/hostname").catch((error) => error.code));
    assert.equal(refused, "crashed");
    const saved = tab.page.waitForEvent("download");
    await tab.page.getByRole("button", { name: "Save report" }).click();
    const report = await readFile(await (await saved).path(), "utf8");
    assert.match(report, /unreachable/);
    assert.match(report, /"retired":\d+/);
    await tab.page.getByRole("button", { name: "Restart" }).click();
    await until(async () => (await tab.banners()).length === 0, "the restart");
    await tab.prompt();
    assert.equal((await tab.run("tail -n 1 /root/kept")).output, "1000");
  }, { seconds: 120 });
}
