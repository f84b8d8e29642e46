// The Dockerfile's steps, carried out without an engine.
//
// Stages are folders. COPY copies, RUN runs in the stage's working directory (the build stage is a copy of the tree, its
// cache mounts are this machine's), and the last stage's entry point is started as its user with its environment, its
// health check run against it. Base images are this machine: whatever they would bring must be here.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, cp, mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const require = createRequire(new URL("../../edge-worker/package.json", import.meta.url));
const run = promisify(execFile);

export function tests(test, world) {
  // Builds everything optimised, which takes as long as an image would: asked for with --dockerfile.
  if (!world.dockerfile) return;
  test("its steps make a server that runs as its user, serves page and store, and ends in time", async () => {
    const { DockerfileParser } = require("dockerfile-ast");
    const stages = parse(DockerfileParser.parse(await readFile(join(world.root, "deploy/Dockerfile"), "utf8")));
    const build = stages.get("build");
    const server = stages.get("server");
    const folder = await world.folder();
    await chmod(folder, 0o755);

    // The build stage: the tree as it is committed or about to be, without what .dockerignore leaves out.
    const src = join(folder, "src");
    await mkdir(src);
    const { stdout: list } = await run("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: world.root, maxBuffer: 1 << 24 });
    for (const name of list.split("\n").filter(Boolean)) {
      await cp(join(world.root, name), join(src, name)).catch((error) => assert.equal(error.code, "ENOENT"));
    }
    assert.equal(build.workdir, "/src");
    for (const words of build.run) {
      const command = words.replace(/--mount=\S+\s+/g, "");
      const env = { ...process.env, ...build.args, CARGO_TARGET_DIR: world.targetDir };
      // `target/release` of the recipe is the cache mount.
      const here = command.replaceAll("target/release/", `${world.targetDir}/release/`);
      await run("sh", ["-ec", here], { cwd: src, env, maxBuffer: 1 << 24 });
    }

    // The server's stage.
    const root = join(folder, "root");
    for (const { from, source, target } of server.copy) {
      assert.equal(from, "build");
      await mkdir(dirname(join(root, target)), { recursive: true });
      await cp(join(folder, source), join(root, target), { recursive: true });
    }
    const [program] = server.entrypoint;
    const port = await freePort();
    const env = {
      ...server.env,
      BLOCK_SERVER_STORE: join(world.root, "build/store"),
      BLOCK_SERVER_STATIC: join(root, server.env.BLOCK_SERVER_STATIC),
      BLOCK_SERVER_LISTEN: `127.0.0.1:${port}`,
    };
    const [uid, gid] = server.user.split(":").map(Number);
    const asUser = { uid, gid, env, cwd: "/" };
    const child = spawn(join(root, program), server.entrypoint.slice(1), { ...asUser, stdio: ["ignore", "pipe", "pipe"] });
    world.defer(() => child.kill("SIGKILL"));
    let log = "";
    child.stderr.on("data", (data) => (log += data));
    for (let tries = 0; !(await fetch(`http://127.0.0.1:${port}/healthz`).then((reply) => reply.ok, () => false)); tries += 1) {
      assert.ok(tries < 200 && child.exitCode === null, `it does not answer:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /Skiff/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/t/debian/latest.json`)).status, 200);
    const [checker, ...words] = server.healthcheck;
    await run(join(root, checker), words, asUser);
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    assert.deepEqual((await gone)[0], 0, log);
    await assert.rejects(run(join(root, checker), words, asUser), "a dead server is healthy");
    // Its log is JSON, as the settings say.
    for (const line of log.split("\n").filter(Boolean)) JSON.parse(line);
  }, { seconds: 1800 });
}

/** The stages of a Dockerfile, by name. */
function parse(dockerfile) {
  const stages = new Map();
  let stage;
  for (const instruction of dockerfile.getInstructions()) {
    const words = instruction.getArguments().map((word) => word.getValue());
    const text = instruction.getArgumentsContent() ?? "";
    switch (instruction.getKeyword()) {
      case "FROM":
        stage = { copy: [], run: [], env: {}, args: {} };
        stages.set(words[2], stage);
        break;
      case "COPY": {
        const from = instruction.toString().match(/--from=(\S+)/)?.[1];
        const [source, target] = words.filter((word) => !word.startsWith("--"));
        // Whole stages of base images and the context itself are what this machine has.
        if (from !== "node" && source !== ".") stage.copy.push({ from, source, target });
        break;
      }
      case "RUN":
        stage.run.push(instruction.getRawArgumentsContent?.() ?? text);
        break;
      case "ENV":
      case "ARG": {
        const [name, ...value] = text.split("=");
        (instruction.getKeyword() === "ENV" ? stage.env : stage.args)[name] = value.join("=");
        break;
      }
      case "WORKDIR":
        stage.workdir = text;
        break;
      case "USER":
        stage.user = text;
        break;
      case "ENTRYPOINT":
        stage.entrypoint = JSON.parse(text);
        break;
      case "HEALTHCHECK":
        stage.healthcheck = JSON.parse(instruction.toString().match(/CMD (\[.*\])/)[1]);
        break;
      default:
        break;
    }
  }
  return stages;
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  return port;
}
