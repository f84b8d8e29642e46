// Files between the page (or Node) and the guest.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { root, store, until } from "./world.mjs";

const text = (bytes) => new TextDecoder().decode(bytes);

/** The script of the demo image, out of its recipe. */
async function downloadCommand() {
  const recipe = await readFile(`${root}deploy/demo/customize.sh`, "utf8");
  return /bin\/download" <<'TEXT'\n([\s\S]*?)^TEXT$/m.exec(recipe)[1];
}

async function nodeMachine(world, options = {}) {
  const { CloudDevice, Linux } = await import(`${root}vm-client/browser/npm/index.js`);
  const { imageUrl, inProcess } = await import(`${root}vm-client/browser/npm/node.js`);
  const dev = new CloudDevice(imageUrl(`${store}/debian`));
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: inProcess(), ...options });
  world.defer(() => linux.delete());
  const sh = async (command) => {
    const { status, stdout, stderr } = await linux.run("/bin/sh", ["-c", command], { stdout: "pipe" });
    return [status, text(stdout), text(stderr)];
  };
  return { linux, fs: linux.fs, sh };
}

export function tests(test, world) {
  test("fs reads and writes what programs see", async () => {
    const { fs, sh } = await nodeMachine(world);
    await sh("printf 'from sh' > /root/a; ln -s a /root/link; mkfifo /tmp/fifo");
    assert.equal(await fs.readFile("/root/a", "utf8"), "from sh");
    assert.equal(await fs.readFile("/root/link", { encoding: "utf8" }), "from sh");
    // proc has no sizes; tmpfs and ext2 do.
    assert.match(await fs.readFile("/proc/version", "utf8"), /^Linux version /);
    for (const directory of ["/root", "/run", "/dev/shm"]) {
      await fs.writeFile(`${directory}/grün.txt`, "one\n");
      await fs.writeFile(`${directory}/grün.txt`, [new Uint8Array([116, 119]), "o\n"], { flag: "a" });
      assert.deepEqual(await sh(`cat ${directory}/gr*; stat -c '%a %U %s' ${directory}/gr*`), [0, "one\ntwo\n644 root 8\n", ""]);
    }
    await fs.writeFile("/root/a", "", { uid: 1000, gid: 100, mode: 0o600 });
    assert.deepEqual(await sh("stat -c '%s %u %g' /root/a"), [0, "0 1000 100\n", ""]);
    const big = new Uint8Array(3_000_001).map((_, index) => (index * 7919) >> 5);
    await fs.writeFile("/root/big", new Blob([big.subarray(0, 1_500_000), big.subarray(1_500_000)]));
    const { createHash } = await import("node:crypto");
    const hash = createHash("sha256").update(big).digest("hex");
    assert.equal((await sh("sha256sum < /root/big"))[1], `${hash}  -\n`);
    assert.deepEqual(Buffer.from(await fs.readFile("/root/big")), Buffer.from(big));
  });

  test("fs lists, makes, renames and removes, on any mount", async () => {
    const { fs, sh } = await nodeMachine(world);
    await fs.mkdir("/root/d/e/f", { recursive: true });
    await fs.mkdir("/root/d/e/f", { recursive: true });
    await sh("cd /root/d; touch b a; ln -s /nowhere c; : > $(printf '\\377x'); mkfifo e/p");
    assert.deepEqual(await fs.readdir("/root/d"), ["a", "b", "c", "e", "\ufffdx"]);
    const entries = await fs.readdir("/root/d", { withFileTypes: true });
    assert.deepEqual(entries.map(({ type }) => type), ["file", "file", "symlink", "directory", "file"]);
    const odd = new Uint8Array([...new TextEncoder().encode("/root/d/"), ...entries[4].rawName]);
    assert.equal((await fs.stat(odd)).size, 0);
    assert.equal((await fs.lstat("/root/d/c")).type, "symlink");
    const [, said] = await sh("stat -c '%i %h %a %s %Y' /root/d");
    const { ino, nlink, mode, size, mtimeMs } = await fs.stat("/root/d");
    assert.equal(said, `${ino} ${nlink} ${(mode & 0o7777).toString(8)} ${size} ${Math.floor(mtimeMs / 1000)}\n`);
    await fs.rename("/root/d/a", "/root/d/b");
    assert.deepEqual((await fs.readdir("/root/d")).slice(0, 2), ["b", "c"]);
    await fs.rm("/root/d/b");
    await fs.rm("/root/d", { recursive: true });
    await fs.rm("/root/d", { recursive: true, force: true });
    assert.deepEqual(await sh("ls -d /root/d 2>&1; ls -d /nowhere 2>/dev/null"), [2, "ls: cannot access '/root/d': No such file or directory\n", ""]);
    assert.ok((await fs.readdir("/proc")).includes("self"));
  });

  test("fs fails in Linux's words", async () => {
    const { fs } = await nodeMachine(world);
    const fails = (promise, errno, words) => assert.rejects(promise, (error) => {
      assert.deepEqual([error.code, error.errno], ["errno", errno]);
      assert.match(error.message, words);
      return true;
    });
    await fails(fs.readFile("/root/nothing"), "ENOENT", /^open \/root\/nothing: No such file or directory \(ENOENT\)$/);
    await fails(fs.readFile("/root"), "EISDIR", /Is a directory/);
    await fails(fs.writeFile("/etc", ""), "EISDIR", /open \/etc/);
    await fails(fs.writeFile("/etc/hostname", "", { flag: "wx" }), "EEXIST", /File exists/);
    await fails(fs.mkdir("/etc"), "EEXIST", /mkdir \/etc/);
    await fails(fs.mkdir("/etc/hostname/x", { recursive: true }), "ENOTDIR", /Not a directory/);
    await fails(fs.rm("/etc"), "ENOTEMPTY", /Directory not empty/);
    await fails(fs.rm("/proc"), "EBUSY", /busy/);
    await fails(fs.rename("/etc/hostname", "/run/x"), "EXDEV", /Invalid cross-device link/);
    await fails(fs.readdir("/etc/hostname"), "ENOTDIR", /Not a directory/);
    await fails(fs.stat(""), "ENOENT", /./);
    await fails(fs.stat("/a\0b"), "EINVAL", /./);
    await fails(fs.stat("/" + "x".repeat(300)), "ENAMETOOLONG", /too long/);
    await fails(fs.watch("/nowhere", () => {}), "ENOENT", /watch \/nowhere/);
    await assert.rejects(fs.readFile(7), TypeError);
  });

  test("fs watches a directory while programs work in it", async () => {
    const { fs, sh } = await nodeMachine(world);
    await fs.mkdir("/root/w");
    const events = [];
    const watch = await fs.watch("/root/w", (event) => events.push(event));
    await sh("cd /root/w; echo x > f; mv f g; mkdir d; rmdir d; rm g");
    await until(() => events.some(({ type, name }) => type === "delete" && name === "g"), "the last event");
    const lines = events.map(({ type, name, directory }) => `${type} ${name}${directory ? "/" : ""}`);
    assert.deepEqual(lines, [
      "create f", "modify f", "close_write f", "moved_from f", "moved_to g", "create d/", "delete d/", "delete g",
    ]);
    assert.equal(events[3].cookie, events[4].cookie);
    watch.close();
    await sh("touch /root/w/unseen");
    assert.equal(events.length, lines.length);
  });

  test("a guest program gives files to the page", async () => {
    const { linux, fs, sh } = await nodeMachine(world);
    const got = [];
    linux.registerCallback("download", (download) => got.push(download));
    await fs.writeFile("/usr/local/bin/download", await downloadCommand(), { mode: 0o755 });
    await sh("chmod 755 /usr/local/bin/download; mkdir -p /root/box; echo inside > /root/box/note");
    // The name is gone before the page reads: it was handed an open file.
    assert.deepEqual(await sh("cd /root; echo hello > a.txt; download a.txt && rm a.txt; download box"), [0, "", ""]);
    await until(() => got.length === 2, "both files");
    assert.deepEqual([got[0].name, got[0].size, await (await got[0].blob()).text()], ["a.txt", 6, "hello\n"]);
    assert.equal(got[1].name, "box.tar.gz");
    await fs.writeFile("/tmp/back.tar.gz", got[1].stream);
    assert.deepEqual(await sh("cd /tmp && tar -xzf back.tar.gz && cat box/note; ls -d /tmp/tmp.* 2>/dev/null"), [2, "inside\n", ""]);
    // The writer's own permissions count.
    const asUser = (path) => linux.run("/bin/sh", ["-c", `download ${path}`], { stdout: "pipe", uid: 1000, gid: 1000 });
    const refused = await asUser("/etc/shadow");
    assert.deepEqual([refused.status, text(refused.stderr)], [1, "download: /etc/shadow: not a file that can be read\n"]);
    assert.match((await sh("echo /nowhere > /dev/skiff"))[2], /No such file|I\/O error/);
    assert.equal(got.length, 2);
  });

  test("fs works in a tab beside a shell", async () => {
    const tab = await world.shell();
    const read = await tab.page.evaluate(async () => {
      const { fs } = globalThis.skiff;
      await fs.writeFile("/root/from-page", new Blob(["page ", "speaking\n"]));
      return [await fs.readFile("/etc/hostname", "utf8"), (await fs.readdir("/")).includes("etc")];
    });
    assert.deepEqual(read, ["skiff\n", true]);
    assert.equal((await tab.run("cat /root/from-page")).output, "page speaking");
    const refused = await tab.page.evaluate(() => globalThis.skiff.fs.readFile("/nope").catch(({ errno, name }) => [name, errno]));
    assert.deepEqual(refused, ["SkiffError", "ENOENT"]);
  });

  test("files dropped on the terminal come to the shell's directory", async () => {
    const tab = await world.shell();
    await tab.run("mkdir /tmp/here && cd /tmp/here && echo old > b.txt");
    const drop = () => tab.page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["alpha\n"], "a.txt"));
      dataTransfer.items.add(new File([new Uint8Array(2_500_000).fill(65)], "b.txt"));
      const terminal = document.querySelector("#terminal .xterm-screen");
      terminal.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await drop();
    await until(async () => (await tab.banners()).some((words) => words.startsWith("Written: /tmp/here/a.txt")), "the banner");
    const { output } = await tab.run("cat a.txt b.txt; tr -d A < 'b (1).txt' | wc -c; stat -c '%s %U' *");
    assert.equal(output, "alpha\nold\n0\n6 root\n2500000 root\n4 root");
  });

  test("a file that is downloaded in the guest is saved by the browser", async () => {
    const tab = await world.shell();
    await tab.run("seq 1 100000 > /root/numbers");
    const saved = tab.page.waitForEvent("download");
    await tab.run("printf %s /root/numbers > /dev/skiff");
    const download = await saved;
    assert.equal(download.suggestedFilename(), "numbers");
    const expected = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join("");
    assert.equal(await readFile(await download.path(), "utf8"), expected);
  });
}
