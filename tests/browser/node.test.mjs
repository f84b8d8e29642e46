// The same wasm in Node: the command line and the API.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";

import { root, store, until } from "./world.mjs";

const CLI = `${root}vm-client/browser/npm/cli.mjs`;

/** Runs the command line; resolves to its status and output. */
function cli(words, { input = "", signal } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...words], { stdio: "pipe" });
    const parts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => (parts[name] += data));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, ...parts }));
    child.stdin.end(input);
    if (signal) child.stdout.once("data", () => child.kill(signal));
  });
}

const run = (command, options = {}) =>
  cli(["run", "--image", `${store}/debian`, ...(options.flags ?? []), "--", ...command], options);

/** What a machine tells of a program that asks for what does not exist, and of one that waits. */
async function diagnosed(linux) {
  await linux.run("/usr/bin/perl", ["-e", "syscall(4000); syscall(4000)"], { stdout: "pipe" });
  const waits = await linux.spawn("/bin/cat", [], { stdin: "pipe" });
  waits.write("x");
  const diagnostics = await until(async () => {
    const found = await linux.diagnostics();
    return found.tasks.some(({ name, state }) => name === "cat" && state === "sleeping") && found;
  }, "cat waits for its input");
  waits.kill("SIGKILL");
  await waits.ended;
  return diagnostics;
}

export function tests(test, world) {
  test("a command's output and status come out", async () => {
    assert.deepEqual(await run(["/bin/echo", "hello", "world"]), { status: 0, stdout: "hello world\n", stderr: "" });
    const failed = await run(["/bin/sh", "-c", "echo bad >&2; exit 7"]);
    assert.deepEqual(failed, { status: 7, stdout: "", stderr: "bad\n" });
  });

  test("standard input goes in, pipelines work", async () => {
    const { stdout } = await run(["/bin/sh", "-c", "sort | uniq -c | sort -rn"], { input: "b\na\nb\n" });
    assert.equal(stdout, "      2 b\n      1 a\n");
    const big = "x".repeat(99) + "\n";
    assert.equal((await run(["/usr/bin/wc", "-c"], { input: big.repeat(10_000) })).stdout, "1000000\n");
  });

  test("environment, directory and user", async () => {
    const flags = ["--env", "COLOUR=deep blue", "--cwd", "/usr/share", "--uid", "1000"];
    const { stdout } = await run(["/bin/sh", "-c", "echo $COLOUR; pwd; id -u; id -g"], { flags });
    assert.equal(stdout, "deep blue\n/usr/share\n1000\n1000\n");
  });

  test("programs are found on the path, or not at all", async () => {
    assert.equal((await run(["uname", "-s"])).stdout, "Linux\n");
    const missing = await run(["nosuchprogram"]);
    assert.equal(missing.status, 127);
    assert.match(missing.stderr, /nosuchprogram|No such file/);
  });

  test("signals reach the program, and its death is told", async () => {
    const caught = await run(["/bin/sh", "-c", "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done"], {
      signal: "SIGTERM",
    });
    assert.deepEqual([caught.status, caught.stdout], [3, "ready\ncaught\n"]);
    const killed = await run(["/bin/sh", "-c", "kill -KILL $$"]);
    assert.equal(killed.status, 137);
  });

  test("a time limit ends a program", async () => {
    const start = performance.now();
    assert.equal((await run(["sleep", "1000"], { flags: ["--timeout", "1"] })).status, 143);
    assert.ok(performance.now() - start < 30_000);
  });

  test("an image comes over HTTP too", async () => {
    const { stdout } = await cli(["run", "--image", `${world.server.url}debian`, "--", "/bin/cat", "/etc/hostname"]);
    assert.equal(stdout, "skiff\n");
  });

  test("an image that is not there is one line and status 125", async () => {
    const { status, stderr } = await cli(["run", "--image", "/nowhere/image", "--", "/bin/true"]);
    assert.equal(status, 125);
    assert.equal(stderr.trim().split("\n").length, 1);
    assert.match(stderr, /image/);
  });

  test("programs run beside each other, with streams, kill and timeout, from JavaScript", async () => {
    const { CloudDevice, Linux } = await import(`${root}vm-client/browser/npm/index.js`);
    const { imageUrl, inProcess } = await import(`${root}vm-client/browser/npm/node.js`);
    const dev = new CloudDevice(imageUrl(`${store}/debian`));
    const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], worker: inProcess() });
    world.defer(() => linux.delete());
    const text = (bytes) => new TextDecoder().decode(bytes);

    // The first one waits for the disk; that is not what is measured.
    await linux.run("/bin/sleep", ["0"], { stdout: "pipe" });
    const start = performance.now();
    const sleeps = [1, 2, 3].map(() => linux.run("/bin/sleep", ["1"], { stdout: "pipe" }));
    for (const { status } of await Promise.all(sleeps)) assert.equal(status, 0);
    assert.ok(performance.now() - start < 2900, "three sleeps of a second took turns");

    const cat = await linux.spawn("/bin/cat", [], { stdin: "pipe" });
    cat.write("one\n");
    cat.write(new TextEncoder().encode("two\n"));
    cat.closeStdin();
    const { status, stdout, stderr } = await cat.ended;
    assert.deepEqual([status, text(stdout), text(stderr)], [0, "one\ntwo\n", ""]);

    const forever = await linux.spawn("/bin/sleep", ["1000"], { stdout: "pipe" });
    forever.kill("SIGKILL");
    assert.deepEqual(await forever.ended.then(({ status, signal }) => [status, signal]), [137, 9]);

    const late = await linux.run("/bin/sh", ["-c", "echo begun; sleep 1000"], { stdout: "pipe", timeout: 700 });
    assert.deepEqual([late.status, text(late.stdout)], [143, "begun\n"]);

    // A reader that takes its time stops the writer instead of filling memory.
    let received = 0;
    const slow = await linux.run("/usr/bin/head", ["-c", "2000000", "/dev/zero"], {
      stdout: async (data) => {
        received += data.length;
        await new Promise((resolve) => setTimeout(resolve, 1));
      },
    });
    assert.deepEqual([slow.status, received], [0, 2_000_000]);

    await assert.rejects(linux.run("/no/such/file", [], { stdout: "pipe" }), { code: "errno", errno: "ENOENT" });
    const { missing, tasks, text: lines } = await diagnosed(linux);
    assert.deepEqual(
      missing.map(({ name, ...rest }) => ({ ...rest, number: /4000/.test(name) })),
      [{ what: "system call", program: "perl", count: 2, number: true }],
    );
    const cat2 = tasks.find(({ name }) => name === "cat");
    assert.match(cat2.call, /^read\(0x0, /);
    assert.equal(cat2.state, "sleeping");
    assert.match(cat2.waitsFor, /descriptor 0/);
    assert.match(lines, /system call 4000 .*perl/);
    assert.match(lines, new RegExp(`task ${cat2.tid} \\(cat\\)`));

    await linux.delete();
    await assert.rejects(linux.run("/bin/true"), { code: "closed" });
  }, { seconds: 120 });
}
