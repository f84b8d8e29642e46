// Where guest time goes, and lists of hot code: in Node and in a tab.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { root, store, until } from "./world.mjs";

const LOOP = "my $s = 0; for my $i (1..400000) { $s += ($i * 7) % 13 } print $s";
const SUM = "2399998";

/** A machine of Node whose list is in a file. */
async function machine(world, hotCodeFile, image = `${store}/debian`, options = {}) {
  const { CloudDevice, Linux } = await import(`${root}vm-client/browser/npm/index.js`);
  const { imageUrl, inProcess } = await import(`${root}vm-client/browser/npm/node.js`);
  const notices = [];
  const dev = new CloudDevice(imageUrl(image));
  const onNotice = (notice) => notices.push(notice);
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: inProcess({ hotCodeFile }), onNotice, ...options });
  world.defer(() => linux.delete());
  return { linux, notices };
}

/** Runs the loop; resolves to what the engine counted. */
async function looped(linux) {
  const { status, stdout } = await linux.run("/usr/bin/perl", ["-e", LOOP], { stdout: "pipe" });
  assert.deepEqual([status, new TextDecoder().decode(stdout)], [0, SUM]);
  return linux.profile();
}

async function folder(world) {
  const path = await mkdtemp(join(tmpdir(), "skiff-hot-"));
  world.defer(() => rm(path, { recursive: true }));
  return path;
}

/** What holds for a profile of the loop, wherever it ran. */
function plausible(profile) {
  const { guestMs, interpreterMs, compileMs, instructions, interpreted, samples, functions, regions, addresses } = profile;
  assert.ok(guestMs > 0 && interpreterMs > 0 && compileMs > 0 && interpreterMs + compileMs < guestMs * 1.5, JSON.stringify(profile));
  assert.ok(interpreted > 0 && interpreted < instructions && samples > instructions / 200_000);
  const perl = functions.filter(({ object }) => /perl/.test(object));
  const share = perl.reduce((sum, { ms }) => sum + ms, 0) / guestMs;
  assert.ok(share > 0.3, `perl had ${share} of the time: ${JSON.stringify(functions)}`);
  assert.ok(perl.some(({ symbol }) => /^Perl_\w+$/.test(symbol)), JSON.stringify(perl));
  assert.ok(addresses.some(({ symbol }) => /^Perl_\w+\+0x[0-9a-f]+$/.test(symbol)));
  assert.ok(regions.some(({ object, ms }) => /perl/.test(object) && ms > 0), JSON.stringify(regions));
  assert.ok(profile.exits["system call"] > 0 && profile.calls.write > 0 && profile.left["end of fuel"] > 0);
  assert.match(profile.text, /^guest code: .* ms[\s\S]*\nfunctions\n[\s\S]*Perl_/);
}

export function tests(test, world) {
  test("a profile says which functions had the time, in Node", async () => {
    const { linux } = await machine(world);
    await linux.startProfile();
    await looped(linux);
    plausible(await linux.timeProfile());
    // It begins anew.
    await linux.startProfile();
    const { instructions, functions } = await linux.timeProfile();
    assert.deepEqual([instructions, functions], [0, []]);
  });

  test("a profile says which functions had the time, in a tab", async () => {
    const tab = await world.shell();
    const profile = await tab.page.evaluate(async (loop) => {
      await globalThis.skiff.startProfile();
      await globalThis.skiff.run("/usr/bin/perl", ["-e", loop], { stdout: "pipe" });
      return globalThis.skiff.timeProfile();
    }, LOOP);
    plausible(profile);
  });

  test("accesses are counted where that is wanted", async () => {
    const names = ["compares with the window", "looks into the flat table"];
    const plain = await looped((await machine(world)).linux);
    assert.deepEqual(names.map((name) => plain[name]), [undefined, undefined]);
    const counted = await looped((await machine(world, undefined, undefined, { countAccesses: true })).linux);
    assert.ok(counted[names[0]] > 1e6 && counted[names[1]] > 1e6, JSON.stringify(counted));
    assert.ok(counted["compares that missed it"] < counted[names[0]] / 50);
    assert.ok(counted["looks that took the slow path"] < counted[names[1]] / 50);
    assert.ok(Object.keys(counted).some((name) => /^(window|table) failed at 0x[0-9a-f]+, of \d+ times$/.test(name)));
  });

  test("what was hot is compiled early by the next machine, in Node", async () => {
    // Code is compiled beside the guest, so how much is interpreted meanwhile depends on the moment: the least of some counts.
    const insns = "instructions interpreted";
    const least = { cold: Infinity, warm: Infinity };
    for (let time = 0; time < 3; time++) {
      const file = join(await folder(world), "list");
      const first = await machine(world, file);
      const cold = await looped(first.linux);
      assert.equal(cold["regions that were expected"], 0);
      await first.linux.delete();
      const second = await machine(world, file);
      const warm = await looped(second.linux);
      assert.ok(warm["regions that were expected"] > 10, JSON.stringify(warm));
      assert.ok(warm["pages with expected code"] > 10 && warm["pages whose code is another now"] === 0);
      assert.deepEqual([...first.notices, ...second.notices], []);
      least.cold = Math.min(least.cold, cold[insns]);
      least.warm = Math.min(least.warm, warm[insns]);
    }
    assert.ok(least.warm < least.cold * 0.75, JSON.stringify(least));
  });

  test("a list of another image and a damaged one are not used, and words say so", async () => {
    const file = join(await folder(world), "list");
    const first = await machine(world, file);
    await looped(first.linux);
    await first.linux.delete();
    const good = await readFile(file);
    const line = good.indexOf(10);
    const flipped = Buffer.from(good);
    flipped[line + 400] ^= 1;
    const other = Buffer.concat([Buffer.from("0".repeat(line)), good.subarray(line)]);
    const cases = [
      [flipped, /^the list of hot code is damaged: it is made anew$/],
      [good.subarray(0, good.length - 9), /^the list of hot code is damaged: it is made anew$/],
      [Buffer.concat([good.subarray(0, line + 1), Buffer.from("something else")]), /^the list of hot code is of another version: it is made anew$/],
      [other, /^the list of hot code belongs to image b3:0{64}, not to b3:[0-9a-f]{64}: it is made anew$/],
    ];
    for (const [bytes, words] of cases) {
      await writeFile(file, bytes);
      const { linux, notices } = await machine(world, file);
      const counts = await looped(linux);
      assert.equal(counts["regions that were expected"], 0);
      await until(() => notices.length, "a notice");
      assert.deepEqual(notices.map(({ code }) => code), ["hot-code"]);
      assert.match(notices[0].message, words);
      await linux.delete();
      // In its place is a good one.
      assert.equal((await readFile(file)).subarray(0, line).toString(), good.subarray(0, line).toString());
    }
    const { linux, notices } = await machine(world, file);
    assert.ok((await looped(linux))["regions that were expected"] > 10);
    assert.deepEqual(notices, []);
  }, { seconds: 240 });

  test("pages whose bytes have changed are left out", async () => {
    const file = join(await folder(world), "list");
    const first = await machine(world, file);
    await looped(first.linux);
    await first.linux.delete();
    const second = await machine(world, file);
    // Another program in the place of perl.
    const { status } = await second.linux.run("/bin/sh", ["-c", "cp /usr/bin/perl /usr/bin/copy && cp /bin/bash /usr/bin/perl.new && mv /usr/bin/perl.new /usr/bin/perl"], { stdout: "pipe" });
    assert.equal(status, 0);
    const before = (await second.linux.profile())["pages whose code is another now"];
    const shell = await second.linux.run("/usr/bin/perl", ["-c", "i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i"], { stdout: "pipe" });
    assert.equal(new TextDecoder().decode(shell.stdout), "300\n");
    assert.ok((await second.linux.profile())["pages whose code is another now"] > before);
    const { stdout } = await second.linux.run("/usr/bin/copy", ["-e", LOOP], { stdout: "pipe" });
    assert.equal(new TextDecoder().decode(stdout), SUM);
  });

  test("a tab that is loaded again compiles early what was hot", async () => {
    const tab = await world.shell();
    const count = () =>
      tab.page.evaluate(async (loop) => {
        await globalThis.skiff.run("/usr/bin/perl", ["-e", loop], { stdout: "pipe" });
        return globalThis.skiff.profile();
      }, LOOP);
    const cold = await count();
    assert.equal(cold["regions that were expected"], 0);
    await tab.page.evaluate(() => globalThis.skiff.delete());
    await tab.page.reload();
    await tab.prompt();
    const warm = await count();
    assert.ok(warm["regions that were expected"] > 10, JSON.stringify(warm));
    // What storage lost is told and made anew.
    const notices = await tab.page.evaluate(async () => {
      const { api } = globalThis.skiff;
      await globalThis.skiff.delete();
      const db = await new Promise((resolve) => (indexedDB.open("skiff-hot-code").onsuccess = ({ target }) => resolve(target.result)));
      const change = db.transaction("lists", "readwrite");
      const lists = change.objectStore("lists");
      lists.openCursor().onsuccess = ({ target: { result: cursor } }) => {
        if (!cursor) return;
        const record = cursor.value;
        record.list[record.list.length >> 1] ^= 1;
        cursor.update(record);
        cursor.continue();
      };
      await new Promise((resolve) => (change.oncomplete = resolve));
      db.close();
      const heard = [];
      const { CloudDevice, IDBDevice, Linux, OverlayDevice, newWorker, wasm } = api;
      // The disk of the page itself.
      const dev = await OverlayDevice.create(await CloudDevice.create("./debian"), await IDBDevice.create("debian"));
      const mounts = [{ type: "ext2", path: "/", dev }];
      const linux = await Linux.create({ mounts, worker: newWorker(), wasm, onNotice: (notice) => heard.push(notice) });
      await linux.run("/bin/true");
      await linux.delete();
      return heard;
    });
    assert.deepEqual(notices, [{ code: "hot-code", message: "the list of hot code is damaged: it is made anew" }]);
  }, { seconds: 180 });
}
