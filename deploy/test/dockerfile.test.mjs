// The Dockerfile's steps, carried out without an engine.
//
// Stages are folders. COPY copies, RUN runs in the stage's working directory (the build stage is a copy of the tree, its
// cache mounts are this machine's), and the last stage's entry point is started as its user with its environment, its
// health check run against it. Base images are this machine: whatever they would bring must be here.
//
// An optimised build takes as long as an image would and is asked for with --dockerfile. Without it cargo's steps run in
// the tree itself, less `--release`: what they make has been made by the tests before, and only what they say is tried.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const require = createRequire(new URL("../../edge-worker/package.json", import.meta.url));
const run = promisify(execFile);

export function tests(test, world) {
  test("its steps make a server that runs as its user, serves page and store, and ends in time", async () => {
    const { DockerfileParser } = require("dockerfile-ast");
    const stages = parse(DockerfileParser.parse(await readFile(join(world.root, "deploy/Dockerfile"), "utf8")));
    const build = stages.get("build");
    const [tools, server] = [stages.get("tools"), stages.get("server")];
    const folder = await world.folder();
    await chmod(folder, 0o755);

    // The build stage: the tree as it is committed or about to be, without what .dockerignore leaves out.
    const src = join(folder, "src");
    await mkdir(join(src, "build"), { recursive: true });
    const which = world.dockerfile ? [] : ["deploy"];
    const listing = ["ls-files", "--cached", "--others", "--exclude-standard", ...which];
    const { stdout: list } = await run("git", listing, { cwd: world.root, maxBuffer: 1 << 24 });
    for (const name of list.split("\n").filter(Boolean)) {
      await cp(join(world.root, name), join(src, name)).catch((error) => assert.equal(error.code, "ENOENT"));
    }
    assert.equal(build.workdir, "/src");
    for (const words of build.run) {
      const command = words.replace(/--mount=\S+\s+/g, "");
      const env = { ...process.env, ...build.args, CARGO_TARGET_DIR: world.targetDir };
      // `target/release` of the recipe is the cache mount.
      const quick = !world.dockerfile && command.startsWith("cargo ");
      const here = command.replaceAll("target/release/", `${world.targetDir}/${quick ? "debug" : "release"}/`);
      await run("sh", ["-ec", quick ? oneByOne(here) : here], { cwd: quick ? world.root : src, env, maxBuffer: 1 << 24 });
      for (const made of quick ? ["client", "bin"] : []) {
        const [from, to] = [join(world.root, "build", made), join(src, "build", made)];
        if (existsSync(from) && !existsSync(to)) await cp(from, to, { recursive: true });
      }
    }

    // The stages of the programs.
    const root = join(folder, "root");
    for (const { from, source, target } of [...tools.copy, ...server.copy]) {
      assert.equal(from, "build");
      await mkdir(dirname(join(root, target)), { recursive: true });
      await cp(join(folder, source), join(root, target), { recursive: true });
    }
    const asUser = (stage, env) => {
      const [uid, gid] = (stage.user ?? server.user).split(":").map(Number);
      return { ...(process.getuid() === 0 ? { uid, gid } : {}), env, cwd: "/" };
    };
    // A store, made by the other program.
    const [tree, store] = [join(folder, "tree/etc"), join(folder, "store")];
    await mkdir(tree, { recursive: true });
    await writeFile(join(tree, "hostname"), "boat\n");
    const words = ["--quiet", "build", "-o", store, "--name", "debian", "--from", `dir:${dirname(tree)}`];
    await run(join(root, tools.entrypoint[0]), [...tools.entrypoint.slice(1), ...words]);
    const [program] = server.entrypoint;
    const port = await world.freePort();
    const env = {
      ...server.env,
      BLOCK_SERVER_STORE: store,
      BLOCK_SERVER_STATIC: join(root, server.env.BLOCK_SERVER_STATIC),
      BLOCK_SERVER_LISTEN: `127.0.0.1:${port}`,
    };
    const user = asUser(server, env);
    const child = spawn(join(root, program), server.entrypoint.slice(1), { ...user, stdio: ["ignore", "pipe", "pipe"] });
    world.defer(() => child.kill("SIGKILL"));
    let log = "";
    child.stderr.on("data", (data) => (log += data));
    for (let tries = 0; !(await fetch(`http://127.0.0.1:${port}/healthz`).then((reply) => reply.ok, () => false)); tries += 1) {
      assert.ok(tries < 200 && child.exitCode === null, `it does not answer:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.match(await (await fetch(`http://127.0.0.1:${port}/`)).text(), /Skiff/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/t/debian/latest.json`)).status, 200);
    const [checker, ...check] = server.healthcheck;
    await run(join(root, checker), check, user);
    const gone = once(child, "exit");
    child.kill("SIGTERM");
    assert.deepEqual((await gone)[0], 0, log);
    await assert.rejects(run(join(root, checker), check, user), "a dead server is healthy");
    // Its log is JSON, as the settings say.
    for (const line of log.split("\n").filter(Boolean)) JSON.parse(line);
  }, { seconds: 1800 });
}

/** A build of several packages as the tests before have built them: not optimised, and each by itself, or features differ. */
function oneByOne(command) {
  return command.replace(/cargo build --release (.*?) -p (\S+) -p (\S+)/, (_, words, ...packages) =>
    packages.slice(0, 2).map((name) => `cargo build ${words} --quiet -p ${name} --bin ${name}`).join(" && "),
  );
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
