// Disks and files as CheerpX's users have them: HttpBytesDevice, GitHubDevice, DataDevice, WebDevice; and pinned keys.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";

import { PlainHost } from "./plain.mjs";
import { store, until } from "./world.mjs";

export function tests(test, world) {
  /** A fresh browser at a page with nothing on it, and a server with everything. */
  async function page() {
    const host = await PlainHost.start();
    world.defer(() => host.stop());
    const context = await world.context();
    return { host, context, ...(await open(context, host)) };
  }

  async function open(context, host) {
    const tab = await context.newPage();
    await tab.goto(host.url);
    await tab.evaluate(async () => {
      const api = await import("/npm/index.js");
      globalThis.api = api;
      // Makes a machine; `what` says which devices.
      globalThis.make = async ({ kind, url, idb, publicKey, web, data }) => {
        let dev = await api[kind].create(url, { publicKey });
        if (idb) dev = await api.OverlayDevice.create(dev, await api.IDBDevice.create(idb));
        const mounts = [{ type: "ext2", path: "/", dev }];
        if (web) mounts.push({ type: "dir", path: "/web", dev: await api.WebDevice.create(web) });
        if (data) {
          globalThis.data = await api.DataDevice.create();
          for (const [path, content] of data) await globalThis.data.writeFile(path, content);
          mounts.push({ type: "dir", path: "/mnt/data", dev: globalThis.data });
        }
        try {
          globalThis.linux = await api.Linux.create({ mounts, memory: 128 << 20 });
          return { manifest: globalThis.linux.disk.manifest, persistent: globalThis.linux.disk.persistent };
        } catch (error) {
          return { code: error.code, message: error.message, manifest: error.manifest };
        }
      };
      globalThis.sh = async (command) => {
        const { status, stdout, stderr } = await globalThis.linux.run("/bin/sh", ["-c", command], { stdout: "pipe", stderr: "pipe" });
        const text = (bytes) => new TextDecoder().decode(bytes);
        return { status, stdout: text(stdout), stderr: text(stderr) };
      };
    });
    return { tab, make: (what) => tab.evaluate((what) => globalThis.make(what), what), sh: (command) => tab.evaluate((command) => globalThis.sh(command), command) };
  }

  const numbers = Array.from({ length: 200_000 }, (_, n) => `${n}\n`).join("");
  const md5 = (bytes) => createHash("md5").update(bytes).digest("hex");

  for (const kind of ["HttpBytesDevice", "GitHubDevice"]) {
    test(`${kind} boots an image of mke2fs`, async () => {
      const { make, sh, host } = await page();
      assert.match((await make({ kind, url: "debian.ext2" })).manifest, /^[0-9a-f]{64}$/);
      assert.deepEqual(await sh("cat /etc/hostname; uname -s"), { status: 0, stdout: "webvm\nLinux\n", stderr: "" });
      assert.equal((await sh("md5sum < /root/numbers")).stdout, `${md5(numbers)}  -\n`);
      assert.equal((await sh("echo new > /root/new; cat /root/new")).stdout, "new\n");
      assert.ok(host.asked.every((path) => path.startsWith("/npm/") || ["/", "/favicon.ico"].includes(path) || path.startsWith("/debian.ext2")));
    });
  }

  test("changes belong to one version of a plain file", async () => {
    const { make, sh, tab, context, host } = await page();
    const what = { kind: "HttpBytesDevice", url: "debian.ext2", idb: "plain" };
    const first = await make(what);
    assert.equal(first.persistent, true);
    await sh("echo mine > /root/mine; sync");
    await tab.evaluate(() => globalThis.linux.delete());
    const again = await open(context, host);
    assert.equal((await again.make(what)).manifest, first.manifest);
    assert.equal((await again.sh("cat /root/mine")).stdout, "mine\n");
    await again.tab.evaluate(() => globalThis.linux.delete());
    host.etag = '"two"';
    const other = await open(context, host);
    const refused = await other.make(what);
    assert.deepEqual([refused.code, refused.manifest], ["overlay-mismatch", first.manifest]);
  });

  test("servers that cannot serve parts are described", async () => {
    const { make, host } = await page();
    for (const [ranges, words] of [["whole", /does not serve byte ranges/], ["gzip", /compress/]]) {
      host.ranges = ranges;
      const refused = await make({ kind: "HttpBytesDevice", url: "debian.ext2" });
      assert.equal(refused.code, "image-corrupt");
      assert.match(refused.message, words);
    }
    host.ranges = "ok";
    const missing = await make({ kind: "HttpBytesDevice", url: "absent.ext2" });
    assert.equal(missing.code, "image-not-found");
    host.files.set("/text.ext2", "x".repeat(300_000));
    assert.match((await make({ kind: "HttpBytesDevice", url: "text.ext2" })).message, /no ext2 file system/);
  }, { seconds: 150 });

  test("an image on another origin works if it may be seen", async () => {
    const { make, sh } = await page();
    const other = await PlainHost.start();
    world.defer(() => other.stop());
    other.ranges = "hidden";
    const hidden = await make({ kind: "HttpBytesDevice", url: `${other.url}debian.ext2` });
    assert.match(hidden.message, /Access-Control-Expose-Headers/);
    other.ranges = "ok";
    await make({ kind: "HttpBytesDevice", url: `${other.url}debian.ext2` });
    assert.equal((await sh("cat /etc/hostname")).stdout, "webvm\n");
  });

  test("DataDevice brings files in, before and after the start", async () => {
    const { make, sh, tab } = await page();
    const program = "#!/bin/sh\necho ran\n";
    await make({ kind: "HttpBytesDevice", url: "debian.ext2", data: [["/greeting", "hello\n"], ["/deep/er/file", "x"], ["/program", program]] });
    assert.equal((await sh("cat /mnt/data/greeting; ls /mnt/data /mnt/data/deep")).stdout, "hello\n/mnt/data:\ndeep\ngreeting\nprogram\n\n/mnt/data/deep:\ner\n");
    await tab.evaluate(async () => {
      await globalThis.data.writeFile("/later", new Uint8Array(300_000).fill(7));
      await globalThis.data.writeFile("/greeting", "changed, and longer\n");
    });
    assert.equal((await sh("cat /mnt/data/greeting; wc -c < /mnt/data/later")).stdout, "changed, and longer\n300000\n");
    assert.equal((await sh("md5sum < /mnt/data/later")).stdout, `${md5(Buffer.alloc(300_000, 7))}  -\n`);
    assert.notEqual((await sh("echo x > /mnt/data/greeting")).status, 0);
    assert.equal((await sh("/mnt/data/program")).status, 126);
    assert.equal((await sh("sh /mnt/data/program")).stdout, "ran\n");
    const refused = await tab.evaluate(() => globalThis.data.writeFile("/greeting/below", "x").then(() => "no", (error) => error.errno));
    assert.equal(refused, "ENOTDIR");
  });

  test("WebDevice shows a tree of files on a server", async () => {
    const { make, sh, host } = await page();
    const put = (path, content) => host.files.set(`/files/${path}`, content);
    put("index.list", "one.txt\nsub/\nwith space\nplain\n");
    put("one.txt", "one\n");
    put("with space", "spaced\n");
    put("sub/index.list", "numbers\nempty\n");
    put("sub/numbers", numbers);
    put("sub/empty", "");
    put("plain/index.list", "x\n");
    put("plain/x", "unmarked directory\n");
    put("unlisted", "still there\n");
    await make({ kind: "HttpBytesDevice", url: "debian.ext2", web: "files" });
    assert.equal((await sh("ls -p /web")).stdout, "one.txt\nplain/\nsub/\nwith space\n");
    assert.equal((await sh('cat /web/one.txt "/web/with space" /web/plain/x /web/unlisted')).stdout, "one\nspaced\nunmarked directory\nstill there\n");
    assert.equal((await sh("md5sum < /web/sub/numbers; wc -c < /web/sub/empty; stat -c %s /web/sub/numbers")).stdout, `${md5(numbers)}  -\n0\n${numbers.length}\n`);
    const missing = await sh("cat /web/absent");
    assert.match(missing.stderr, /No such file/);
    assert.match((await sh("echo x > /web/new")).stderr, /Read-only file system/);
    // A server without ranges sends files whole.
    host.ranges = "whole";
    put("late", "whole\n");
    assert.equal((await sh("cat /web/late")).stdout, "whole\n");
  });

  test("overlays lie on overlays, and each keeps its own differences", async () => {
    const { tab, sh } = await page();
    const start = (names) => tab.evaluate(async (names) => {
      await globalThis.linux?.delete();
      let dev = await api.HttpBytesDevice.create("debian.ext2");
      for (const name of names) dev = await api.OverlayDevice.create(dev, await api.IDBDevice.create(name));
      try {
        globalThis.linux = await api.Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], memory: 64 << 20 });
        return "runs";
      } catch (error) {
        globalThis.linux = null;
        return error.code;
      }
    }, names);
    await start(["lesson"]);
    await sh("echo lesson > /root/lesson; echo school > /etc/hostname; sync");
    for (const pupil of ["ann", "bob"]) {
      await start(["lesson", pupil]);
      assert.equal((await sh(`cat /root/lesson /etc/hostname; ls /root; echo ${pupil} > /root/$(cat /root/lesson); echo ${pupil} > /root/mine; sync`)).stdout,
        "lesson\nschool\nlesson\nnumbers\n");
    }
    await start(["lesson", "ann"]);
    assert.equal((await sh("cat /root/mine /root/lesson; wc -l < /root/numbers")).stdout, "ann\nann\n200000\n");
    // What lies below is as it was, until somebody changes it; then what was made on it is refused.
    await start(["lesson"]);
    assert.equal((await sh("cat /root/lesson; ls /root; echo x > /root/x; sync")).stdout, "lesson\nlesson\nnumbers\n");
    assert.equal(await start(["lesson", "bob"]), "overlay-mismatch");
    assert.equal(await start(["lesson", "new"]), "runs");
    assert.equal((await sh("ls /root")).stdout, "lesson\nnumbers\nx\n");
    assert.equal(await start(["lesson", "lesson"]), "bad-argument");
  }, { seconds: 150 });

  test("a disk that lies on another is refused while a tab changes that one", async () => {
    const { tab, sh, make, context, host } = await page();
    await make({ kind: "HttpBytesDevice", url: "debian.ext2", idb: "below" });
    await sh("echo x > /root/x; sync");
    const other = await open(context, host);
    const refused = await other.tab.evaluate(async () => {
      const below = await api.OverlayDevice.create(await api.HttpBytesDevice.create("debian.ext2"), await api.IDBDevice.create("below"));
      const dev = await api.OverlayDevice.create(below, await api.IDBDevice.create("above"));
      return api.Linux.create({ mounts: [{ type: "ext2", path: "/", dev }] }).then(() => "runs", (error) => [error.code, error.message]);
    });
    assert.deepEqual(refused, ["overlay-busy", 'another tab is changing the disk "below", on which this one lies']);
    assert.equal(await tab.evaluate(() => globalThis.linux.disk.persistent), true);
  });

  test("an IDBDevice is a directory that guest and page read, and stays", async () => {
    const { tab, context, host } = await page();
    const start = (tab) => tab.evaluate(async () => {
      globalThis.files = await api.IDBDevice.create("files");
      const dev = await api.HttpBytesDevice.create("debian.ext2");
      const mounts = [{ type: "ext2", path: "/", dev }, { type: "dir", path: "/srv/files", dev: globalThis.files }];
      globalThis.linux = await api.Linux.create({ mounts, memory: 64 << 20 });
    });
    const read = (tab, path) => tab.evaluate(async (path) => (await globalThis.files.readFileAsBlob(path))?.text() ?? null, path);
    await start(tab);
    const run = (tab, command) => tab.evaluate((command) => globalThis.linux
      .run("/bin/sh", ["-c", command], { stdout: "pipe", uid: 1000, gid: 1000 })
      .then(({ stdout }) => new TextDecoder().decode(stdout)), command);
    assert.equal(await run(tab, "cd /srv/files && ls && mkdir d && echo kept > d/a && chmod 700 d/a && stat -c '%a %u' d/a; sync"), "700 1000\n");
    assert.equal(await read(tab, "/d/a"), "kept\n");
    assert.equal(await read(tab, "d/none"), null);
    assert.equal(await read(tab, "/d"), null);
    await tab.evaluate(() => globalThis.linux.delete());
    // Without a machine that has it, too.
    assert.equal(await read(tab, "/d/a"), "kept\n");
    const again = await open(context, host);
    await start(again.tab);
    assert.equal(await run(again.tab, "cat /srv/files/d/a; ls /srv"), "kept\nfiles\n");
    assert.equal(await again.tab.evaluate(async () => (await api.IDBDevice.create("never")).readFileAsBlob("/x")), null);
  });

  test("more disks than one: a second ext2, one out of the page's files, and a root of plain files", async () => {
    const { tab, sh, host } = await page();
    host.files.set("/other/disk.ext2", readFileSync(host.image));
    const said = await tab.evaluate(async () => {
      const web = await api.WebDevice.create("other");
      const idb = await api.IDBDevice.create("second");
      const second = await api.OverlayDevice.create(await api.FileDevice.create(web, "disk.ext2"), idb);
      const data = await api.DataDevice.create();
      await data.writeFile("/held.ext2", new Uint8Array(await (await fetch("other/disk.ext2")).arrayBuffer()));
      const mounts = [
        { type: "ext2", path: "/", dev: await api.HttpBytesDevice.create("debian.ext2") },
        { type: "ext2", path: "/mnt/second", dev: second },
        { type: "ext2", path: "/mnt/held", dev: await api.FileDevice.create(data, "held.ext2") },
      ];
      globalThis.linux = await api.Linux.create({ mounts, memory: 64 << 20 });
      const missing = await api.FileDevice.create(data, "/absent");
      return api.Linux.create({ mounts: [{ type: "ext2", path: "/", dev: missing }] }).catch(({ code }) => code);
    });
    assert.equal(said, "image-not-found");
    assert.equal((await sh("cat /mnt/second/etc/hostname /mnt/held/etc/hostname; echo two > /mnt/second/etc/hostname; cat /etc/hostname; sync")).stdout, "webvm\nwebvm\nwebvm\n");
    const { stdout: mounts } = await sh("cat /mnt/second/etc/hostname /proc/mounts");
    assert.match(mounts, /^two\n/);
    for (const line of ["/dev/vdb /mnt/second ext2 rw", "/dev/vdc /mnt/held ext2 rw"]) assert.ok(mounts.includes(`\n${line}`), mounts);

    host.files.set("/index.list", "etc/\n");
    host.files.set("/etc/index.list", "motd\n");
    host.files.set("/etc/motd", "from the web\n");
    const motd = await tab.evaluate(async () => {
      await globalThis.linux.delete();
      globalThis.linux = await api.Linux.create();
      return [await globalThis.linux.fs.readFile("/etc/motd", "utf8"), globalThis.linux.disk.persistent];
    });
    assert.deepEqual(motd, ["from the web\n", false]);
  }, { seconds: 120 });

  test("what a page written for CheerpX calls, in its order and with its shapes, works", async () => {
    const { tab, host } = await page();
    host.files.set("/documents/index.list", "Welcome.txt\n");
    host.files.set("/documents/Welcome.txt", "welcome\n");
    host.files.set("/index.list", "documents/\n");
    // The first is what its pages try first; what has no WebSocket they ask for by https.
    const image = `${world.server.url.replace("http:", "ws:")}debian`;
    await tab.evaluate(async (image) => {
      globalThis.seen = { screen: "", cpu: new Set(), disk: new Set(), latency: [], created: 0, notices: [], resolved: [] };
      const blockDevice = await api.CloudDevice.create(image);
      globalThis.blockCache = await api.IDBDevice.create("blocks_terminal");
      const overlayDevice = await api.OverlayDevice.create(blockDevice, globalThis.blockCache);
      const webDevice = await api.WebDevice.create("");
      const documentsDevice = await api.WebDevice.create("documents");
      const dataDevice = await api.DataDevice.create();
      const networkInterface = { authKey: undefined, controlUrl: undefined, loginUrlCb() {}, stateUpdateCb() {}, netmapUpdateCb() {} };
      const cx = await api.Linux.create({
        mounts: [
          { type: "ext2", dev: overlayDevice, path: "/" },
          { type: "dir", dev: webDevice, path: "/web" },
          { type: "dir", dev: dataDevice, path: "/data" },
          { type: "devs", path: "/dev" },
          { type: "devpts", path: "/dev/pts" },
          { type: "proc", path: "/proc" },
          { type: "sys", path: "/sys" },
          { type: "dir", dev: documentsDevice, path: "/home/user/documents" },
        ],
        networkInterface,
      });
      cx.registerCallback("cpuActivity", (state) => globalThis.seen.cpu.add(state));
      cx.registerCallback("diskActivity", (state) => globalThis.seen.disk.add(state));
      cx.registerCallback("diskLatency", (latency) => globalThis.seen.latency.push(latency));
      cx.registerCallback("processCreated", () => (globalThis.seen.created += 1));
      cx.registerCallback("notice", ({ code }) => globalThis.seen.notices.push(code));
      const decoder = new TextDecoder();
      const readFunc = cx.setCustomConsole((buf, vt) => {
        if (vt === 1) globalThis.seen.screen += decoder.decode(new Uint8Array(buf), { stream: true });
      }, 80, 24);
      globalThis.type = (text) => {
        for (let at = 0; at < text.length; at += 1) readFunc(text.charCodeAt(at));
      };
      cx.setKmsCanvas(document.createElement("canvas"), 1024, 768);
      const activate = cx.setActivateConsole((vt) => globalThis.seen.resolved.push(["console", vt]));
      activate(7);
      cx.networkLogin().catch(({ code }) => globalThis.seen.resolved.push(["login", code]));
      globalThis.cx = cx;
      const opts = {
        env: ["HOME=/home/user", "TERM=xterm", "USER=user", "SHELL=/bin/bash", "EDITOR=vim", "LANG=en_US.UTF-8", "LC_ALL=C"],
        cwd: "/home/user",
        uid: 1000,
        gid: 1000,
      };
      // A shell, and another one after each.
      globalThis.loop = (async () => {
        for (;;) globalThis.seen.resolved.push(["run", (await cx.run("/bin/bash", ["--login"], opts)).status]);
      })().catch(({ code }) => globalThis.seen.resolved.push(["end", code]));
    }, image);
    const seen = () => tab.evaluate(() => ({ ...globalThis.seen, cpu: [...globalThis.seen.cpu].sort(), disk: [...globalThis.seen.disk].sort() }));
    // Without sequences, such as those that switch bracketed paste.
    const shown = async () => (await seen()).screen.replaceAll(/\x1b[[\]][?0-9;]*[a-z]|\r/gi, "");
    const screen = async (pattern) => until(async () => pattern.test(await shown()), `${pattern} on the screen`, 40_000)
      .catch(async (error) => assert.fail(`${error.message}:\n${await shown()}`));
    await screen(/\$ $/);
    await tab.evaluate(() => globalThis.type("id -u; cat documents/Welcome.txt /web/documents/Welcome.txt; ls -d /data; echo mine > /tmp/mine; sync\r"));
    await screen(/\n1000\nwelcome\nwelcome\n\/data\n[^\n]*\$ $/);
    await tab.evaluate(() => globalThis.type("exit 3\r"));
    await until(async () => (await seen()).resolved.length === 3, "the end of the shell");
    await screen(/logout\n[^\n]*\$ $/);
    const { cpu, disk, latency, created, notices, resolved } = await seen();
    assert.deepEqual([cpu, disk], [["ready", "wait"], ["ready", "wait"]]);
    assert.ok(latency.length && latency.every((ms) => ms >= 0), latency.join());
    assert.ok(created > 0);
    assert.deepEqual(notices, ["unsupported"]);
    assert.deepEqual(resolved, [["console", 7], ["login", "unsupported"], ["run", 3]]);
    // Its button for a fresh disk takes the changes away under the machine that runs, and loads the page anew.
    assert.notEqual(await tab.evaluate(() => globalThis.blockCache.manifest()), null);
    await tab.evaluate(() => globalThis.blockCache.reset());
    assert.equal(await tab.evaluate(() => globalThis.blockCache.manifest()), null);
  }, { seconds: 120 });

  test("mounts that make no sense are refused before anything starts", async () => {
    const { tab } = await page();
    const codes = await tab.evaluate(async () => {
      const dev = await api.HttpBytesDevice.create("debian.ext2");
      const idb = await api.IDBDevice.create("a");
      const over = await api.OverlayDevice.create(dev, idb);
      const root = { type: "ext2", path: "/", dev };
      const wrong = [
        [{ type: "ext2", path: "/x", dev }],
        [{ type: "ext2", path: "/", dev: idb }],
        [root, { type: "dir", path: "relative", dev: idb }],
        [root, { type: "dir", path: "/a", dev }],
        [root, { type: "nfs", path: "/a", dev }],
        [{ ...root, dev: over }, { type: "dir", path: "/a", dev: idb }],
      ];
      const refuse = (mounts) => api.Linux.create({ mounts }).then(() => "runs", ({ code }) => code);
      return Promise.all(wrong.map(refuse));
    });
    assert.deepEqual(codes, ["bad-argument", "bad-argument", "bad-argument", "bad-argument", "unsupported", "bad-argument"]);
  });

  test("a pinned key refuses what it did not sign", async () => {
    const { make, sh, host } = await page();
    const record = JSON.parse(readFileSync(`${store}/t/debian/latest.json`, "utf8"));
    host.folders.set("/store/", `${store}/`);
    const key = generateKeyPairSync("ed25519");
    const publicKey = `ed25519:${Buffer.from(key.publicKey.export({ format: "jwk" }).x, "base64url").toString("hex")}`;
    const what = { kind: "CloudDevice", url: `${host.url}store/debian`, publicKey };
    const unsigned = await make(what);
    assert.deepEqual([unsigned.code, /not signed/.test(unsigned.message)], ["image-untrusted", true], unsigned.message);
    const { name, tag, manifest, size, created } = record;
    const text = `skiff tag 1\n${name}\n${tag}\n${manifest}\n${size}\n${created}\n`;
    record.sig = `ed25519:${sign(null, Buffer.from(text), key.privateKey).toString("hex")}`;
    host.files.set("/store/t/debian/latest.json", JSON.stringify(record));
    assert.equal((await make(what)).manifest, manifest);
    assert.equal((await sh("uname -s")).stdout, "Linux\n");
    host.files.set("/store/t/debian/latest.json", JSON.stringify({ ...record, created: created + 1 }));
    assert.equal((await make(what)).code, "image-untrusted");
    assert.equal((await make({ ...what, publicKey: "ed25519:nonsense" })).code, "bad-argument");
  });
}
