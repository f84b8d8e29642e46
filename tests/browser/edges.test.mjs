// What browsers, people and computers do to a tab; nothing of it loses what was committed, and each has its words.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { Victim } from "../durability/browser/victim.mjs";
import { BlockServer, freePort, sleep, store, until } from "./world.mjs";

const execute = promisify(execFile);

/** Puts code before that of the worker; `globalThis.channel` brings it what the page posts on a channel named "test". */
async function inWorker(context, code) {
  await context.route(/worker-.*\.js/, async (route) => {
    const reply = await route.fetch();
    await route.fulfill({ response: reply, body: `{const channel=new BroadcastChannel("test");${code}}\n${await reply.text()}` });
  });
}

const tell = (tab, message) =>
  tab.page.evaluate((data) => {
    globalThis.testChannel ??= new BroadcastChannel("test");
    globalThis.testChannel.postMessage(data);
  }, message);

const says = (tab, words, ms) => until(async () => words.test((await tab.banners()).join("\n")), `${words} in a banner`, ms);

/** An address of this computer that is not loopback, where browsers give a page neither locks nor persistence. */
function lanAddress() {
  const all = Object.values(networkInterfaces()).flat();
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address;
}

/** What a store holds in tests of full ones, in bytes: an eighth of what is written there. */
const SMALL_QUOTA = 24_000_000;

/** Writes more than the store takes; tells the sum of what was taken. */
async function fill(tab) {
  await tab.run("echo before > /root/before; sync");
  const { output } = await tab.run("dd if=/dev/urandom of=/root/big bs=64k count=3200 2>&1", 60_000);
  assert.match(output, /No space left on device/);
  assert.equal((await tab.run("cat /root/before")).output, "before");
  return (await tab.run("sha1sum /root/big")).output;
}

export function tests(test, world) {
  // A browser may answer that there is more room than it gives (Chromium says 10 GiB to every page), so both ways of finding
  // out that a store is full are tried.
  test("a store that the browser says is full is ENOSPC at write, and goes on once there is room", async () => {
    const context = await world.context();
    await inWorker(context, `
      const { estimate } = navigator.storage;
      navigator.storage.estimate = async () => ({ ...(await estimate.call(navigator.storage)), quota: ${SMALL_QUOTA} });`);
    const tab = await world.shell({ context });
    await fill(tab);
    // Removing works on a full disk, and makes room.
    assert.equal((await tab.run("rm /root/big && echo small > /root/small && sync /root/small")).status, 0);
    await tab.reload();
    assert.equal((await tab.run("cat /root/before /root/small; ls /root/big")).output.split("\n").slice(0, 2).join(), "before,small");
  }, { seconds: 180 });

  test("a store that turns out to be full is ENOSPC at write and at fsync, loses nothing, and goes on once the browser has room", async () => {
    const context = await world.context();
    // Before the browser opens anything of the origin: it remembers for half a minute how much room there was.
    const session = await context.newCDPSession(await context.newPage());
    const { origin } = new URL(world.server.url);
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: SMALL_QUOTA });
    const tab = await world.shell({ context });
    const sum = await fill(tab);
    assert.match((await tab.run("sync /root/big")).output, /No space left on device/);
    await says(tab, /no room for more changes/, 30_000);
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    await until(async () => (await tab.run("echo small > /root/small && sync /root/big /root/small")).status === 0, "a sync that succeeds", 90_000);
    await tab.reload();
    assert.equal((await tab.run("cat /root/before /root/small; sha1sum /root/big")).output, `before\nsmall\n${sum}`);
  }, { seconds: 180 });

  test("a store that fails for good makes the disk read-only, in words, and what was not stored can be exported", async () => {
    const context = await world.context();
    await inWorker(context, `
      let failing = false;
      channel.onmessage = ({ data }) => (failing = data.failing);
      const put = IDBObjectStore.prototype.put;
      IDBObjectStore.prototype.put = function (...words) {
        if (failing) throw new DOMException("the disk of the computer is broken", "UnknownError");
        return put.apply(this, words);
      };`);
    const tab = await world.shell({ context });
    await tab.run("echo stored > /root/stored; for f in a b c; do yes old | head -c 65536 > /root/$f; sync; done");
    await tell(tab, { failing: true });
    // Pages between stored ones: wherever the three files lie, one that is stored comes before this one or behind it.
    await tab.run("yes new | head -c 65536 | dd of=/root/b bs=65536 iflag=fullblock conv=notrunc");
    const script = `
import errno, os
for name in "ab":
    fd = os.open("/root/stored", os.O_RDONLY)
    for _ in range(2):
        try:
            os.fsync(fd)
            print(name, "ok")
        except OSError as error:
            print(name, errno.errorcode[error.errno])
`;
    await tab.page.evaluate((text) => globalThis.skiff.fs.writeFile("/tmp/fsync.py", text), script);
    await says(tab, /read-only/, 60_000);
    // fsync(2) says EIO once for every open file, and never success.
    assert.equal((await tab.run("python3 /tmp/fsync.py")).output, "a EIO\na EROFS\nb EIO\nb EROFS");
    assert.match((await tab.run("touch /root/new")).output, /Read-only file system/);
    assert.match((await tab.run("grep ' / ' /proc/mounts")).output, / ro/);
    // What is there can be read, and carried away.
    const saved = tab.page.waitForEvent("download");
    await tab.page.click("#export");
    const file = await (await saved).path();
    const other = await world.shell();
    const navigated = other.page.waitForNavigation();
    await other.page.setInputFiles("#import-file", file);
    await other.page.click("#ask-yes");
    await navigated;
    await other.prompt();
    assert.equal((await other.run("cat /root/stored")).output, "stored");
    assert.equal((await other.run("test -s /tmp/fsync.py && echo there")).output, "there");
    const lines = await other.run("for f in a b c; do uniq /root/$f | head -1; cmp /root/$f /root/a | wc -l; done");
    assert.equal(lines.output.replace(/\s+/g, " "), "old 0 new 1 old 0");
    // And the tab itself still has what was committed.
    await tell(tab, { failing: false });
    await tab.reload();
    assert.equal((await tab.run("cat /root/stored")).output, "stored");
  }, { seconds: 240 });

  test("site data that is cleared under a running guest is told", async () => {
    const tab = await world.shell();
    await tab.run("echo x > /root/x; sync");
    const session = await tab.page.context().newCDPSession(tab.page);
    await session.send("Storage.clearDataForOrigin", { origin: new URL(world.server.url).origin, storageTypes: "all" });
    await tab.type("echo y > /root/y; sync\n");
    await says(tab, /its data was cleared/, 30_000);
    // What the guest has in memory it still has.
    assert.equal((await tab.run("cat /root/x")).output, "x");
    await tab.reload();
    assert.equal((await tab.run("cat /root/x")).status, 1);
    assert.equal((await tab.run("echo again > /root/x && sync && cat /root/x")).output, "again");
  }, { seconds: 120 });

  test("a frozen tab goes on where it was", async () => {
    const tab = await world.shell();
    await tab.run("echo kept > /root/kept");
    const session = await tab.page.context().newCDPSession(tab.page);
    await tab.type("for i in 1 2 3 4 5 6 7 8; do echo tick $i; sleep 0.5; done\n");
    await tab.sees("tick 2");
    await session.send("Page.setWebLifecycleState", { state: "frozen" });
    await sleep(4000);
    await session.send("Page.setWebLifecycleState", { state: "active" });
    await tab.sees("tick 8");
    await tab.prompt();
    await tab.reload();
    assert.equal((await tab.run("cat /root/kept")).output, "kept");
  }, { seconds: 90 });

  test("a discarded tab comes back with everything that was committed", async () => {
    const context = await world.context();
    const tab = await world.shell({ context });
    await tab.run("seq 1 20000 > /root/numbers; sync; echo not synced > /root/late");
    const session = await context.newCDPSession(tab.page);
    const gone = tab.page.waitForEvent("crash");
    // The browser takes the process away without a word, as it does when memory is short.
    session.send("Page.crash").catch(() => {});
    await gone;
    await tab.page.close();
    const again = await world.shell({ context });
    assert.equal((await again.run("tail -n 1 /root/numbers")).output, "20000");
    assert.deepEqual(await again.banners(), []);
  }, { seconds: 90 });

  test("a computer that slept finds its guest at work, its clock right and its disk whole", async () => {
    const profile = await mkdtemp(join(tmpdir(), "skiff-sleep-"));
    world.defer(() => rm(profile, { recursive: true, force: true }));
    const victim = await Victim.start(profile);
    world.defer(() => victim.kill().catch(() => {}));
    const tab = await victim.shell(world.server.url);
    await tab.run("echo kept > /root/kept; sync");
    await tab.type("while :; do date +at-%s; sleep 0.3; done\n");
    await tab.sees(/at-\d+\s/);
    process.kill(-victim.process.pid, "SIGSTOP");
    await sleep(5000);
    process.kill(-victim.process.pid, "SIGCONT");
    const woken = Math.floor(Date.now() / 1000);
    await until(async () => {
      const times = [...(await tab.text()).matchAll(/at-(\d+)/g)].map(([, seconds]) => Number(seconds));
      return times.at(-1) >= woken;
    }, "the guest to know the time");
    await tab.press("Control+c");
    await tab.prompt();
    assert.equal((await tab.run("cat /usr/bin/perl | wc -c && cat /root/kept", 60_000)).status, 0);
    await tab.reload();
    assert.equal((await tab.run("cat /root/kept")).output, "kept");
  }, { seconds: 150 });

  test("a clock that is set moves the guest's date and nothing else", async () => {
    const context = await world.context();
    await inWorker(context, `
      let shift = 0;
      channel.onmessage = ({ data }) => (shift = data.shift);
      const now = Date.now.bind(Date);
      Date.now = () => now() + shift;`);
    const tab = await world.shell({ context });
    await tab.run("echo kept > /root/kept; sync");
    for (const shift of [86_400_000, -2 * 86_400_000, 0]) {
      await tell(tab, { shift });
      await until(async () => {
        const date = Number((await tab.run("date +%s")).output);
        return Math.abs(date - (Date.now() + shift) / 1000) < 60;
      }, `the guest's date to follow a shift of ${shift} ms`);
      const { output } = await tab.run("cut -d. -f1 /proc/uptime; sleep 1; cut -d. -f1 /proc/uptime");
      const [before, after] = output.split("\n").map(Number);
      // Time that programs measure goes on as before.
      assert.ok(after - before >= 1 && after - before < 30, output);
      assert.equal((await tab.run("echo more >> /root/kept && sync")).status, 0);
    }
    await tab.reload();
    assert.equal((await tab.run("cat /root/kept")).output.split("\n").join(), "kept,more,more,more");
  }, { seconds: 120 });

  test("an image that is published anew under a running guest changes nothing for it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "skiff-republished-"));
    world.defer(() => rm(folder, { recursive: true, force: true }));
    const own = join(folder, "store");
    await mkdir(join(own, "o"), { recursive: true });
    for (const name of await readdir(join(store, "o"))) await cp(join(store, "o", name), join(own, "o", name), { recursive: true, mode: 1 });
    await cp(join(store, "t"), join(own, "t"), { recursive: true });
    const server = await BlockServer.start(world.blockServer, own);
    world.defer(() => server.stop());
    const tab = await world.shell({ url: server.url });
    await tab.run("echo mine > /root/mine; sync");
    const tree = join(folder, "tree");
    await mkdir(tree);
    await writeFile(join(tree, "readme"), "another system\n");
    const imageTools = join(dirname(world.blockServer), "image-tools");
    await execute(imageTools, ["--quiet", "build", "-o", own, "--name", "debian", "--from", `dir:${tree}`, "--size", "64M"]);
    await server.stop();
    const again = await BlockServer.start(world.blockServer, own, server.port);
    world.defer(() => again.stop());
    // The guest goes on with the version that it was started on.
    assert.equal((await tab.run("cat /usr/share/vim/vim90/doc/*.txt | wc -l; cat /root/mine", 60_000)).status, 0);
    await tab.run("echo more >> /root/mine; sync");
    await tab.page.reload();
    await until(async () => (await tab.page.locator("#boot-title").innerText()) === "The image has changed", "the choice");
    await tab.page.getByText("Go on with the earlier version").click();
    await tab.prompt();
    assert.equal((await tab.run("cat /root/mine")).output, "mine\nmore");
  }, { seconds: 180 });

  test("everything works over plain HTTP on a network's address", async () => {
    const address = lanAddress();
    assert.ok(address, "this computer has no address but loopback; give it one: ip addr add 192.0.2.1/32 dev lo");
    const server = await BlockServer.start(world.blockServer, store, await freePort(), undefined, address);
    world.defer(() => server.stop());
    const context = await world.context();
    const tab = await world.shell({ context, url: server.url });
    assert.deepEqual(await tab.page.evaluate(() => [isSecureContext, "locks" in navigator, "storage" in navigator]), [false, false, false]);
    assert.equal((await tab.run("echo lan > /root/lan; sync; cat /root/lan")).output, "lan");
    assert.equal(await tab.page.evaluate(() => globalThis.skiff.disk.persistent), true);
    await until(() => tab.page.evaluate(() => globalThis.skiff.disk.persistence === "unavailable"), "the answer that there is none");
    await tab.reload();
    assert.equal((await tab.run("cat /root/lan")).output, "lan");
    // Without locks the newest tab has the disk, and the other one is told at its next change.
    const second = await world.shell({ context, url: server.url });
    assert.equal((await second.run("cat /root/lan; echo second > /root/second; sync")).status, 0);
    await tab.type("echo first > /root/first; sync\n");
    await says(tab, /Another tab took over/, 30_000);
    await second.reload();
    assert.equal((await second.run("cat /root/second; cat /root/first")).output.split("\n")[0], "second");
    assert.equal((await second.run("ls /root/first")).status, 2);
  }, { seconds: 150 });

  test("a worker that dies is told as a crash", async () => {
    const tab = await world.shell();
    await tab.run("echo kept > /root/kept; sync");
    await tab.page.evaluate(() => {
      globalThis.told = [];
      globalThis.skiff.registerCallback("crash", (failure) => globalThis.told.push(failure.code));
    });
    // An error that nothing in the worker has caught.
    await tab.page.workers()[0].evaluate(() => void setTimeout(() => { throw new Error("out of luck"); }));
    await says(tab, /The machine stopped: .*out of luck/);
    assert.deepEqual(await tab.page.evaluate(() => globalThis.told), ["crashed"]);
    await tab.page.getByRole("button", { name: "Restart" }).click();
    await until(async () => (await tab.banners()).length === 0, "the restart");
    await tab.prompt();
    assert.equal((await tab.run("cat /root/kept")).output, "kept");
  }, { seconds: 90 });

  test("a machine that does not answer is told, and so is its return", async () => {
    const tab = await world.shell();
    await tab.page.evaluate(async () => {
      const { CloudDevice, Linux, newWorker, wasm } = globalThis.skiff.api;
      const dev = await CloudDevice.create("./debian");
      globalThis.told = [];
      globalThis.other = await Linux.create({
        mounts: [{ type: "ext2", path: "/", dev }],
        worker: newWorker(),
        wasm,
        answerWithin: 1500,
        onNotice: ({ code }) => globalThis.told.push(code),
      });
    });
    void tab.page.workers().at(-1).evaluate(() => { for (const end = Date.now() + 8000; Date.now() < end; ); }).catch(() => {});
    await until(() => tab.page.evaluate(() => globalThis.told.join() === "no-answer,answers"), "both notices", 40_000);
    const status = await tab.page.evaluate(async () => (await globalThis.other.run("/bin/true")).status);
    assert.equal(status, 0);
  }, { seconds: 120 });
}
