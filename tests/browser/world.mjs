// What the tests share: a block-server, a Chromium, and ways to break the network between them.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { Tab } from "./tab.mjs";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const store = `${root}build/store`;
export const site = `${root}build/client`;

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export function browserProgram() {
  const program = BROWSERS.find((path) => path && existsSync(path));
  if (!program) throw new Error("there is no Chromium; set CHROMIUM to its path");
  return program;
}

export class World {
  #contexts = [];
  #tabs = [];
  #ends = [];
  #last = [];

  static async start(blockServer) {
    if (!blockServer || !existsSync(blockServer)) throw new Error("--block-server must name the built server");
    const world = await World.browserOnly();
    world.blockServer = blockServer;
    world.server = await BlockServer.start(blockServer, store);
    return world;
  }

  /** A Chromium, and no server. */
  static async browserOnly() {
    const world = new World();
    world.browser = await chromium.launch({ executablePath: browserProgram(), args: ["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"] });
    return world;
  }

  /** A browser that has never been here. */
  async context(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1000, height: 620 }, ...options });
    this.#contexts.push(context);
    return context;
  }

  /** Opens the page in a tab, without waiting for anything. */
  async tab({ context, url = this.server.url, hooks } = {}) {
    const tab = await Tab.open(context ?? (await this.context()), url, hooks);
    this.#tabs.push(tab);
    return tab;
  }

  /** Opens the page and waits for the prompt. */
  async shell(options) {
    const tab = await this.tab(options);
    await tab.prompt();
    return tab;
  }

  /** Has something stopped after the test. */
  defer(end) {
    this.#ends.push(end);
  }

  /** Has something stopped after the last test. */
  deferToTheEnd(end) {
    this.#last.push(end);
  }

  async described() {
    return this.#tabs.at(-1)?.describe();
  }

  async afterTest() {
    for (const end of this.#ends.splice(0).reverse()) await end();
    for (const context of this.#contexts.splice(0)) await context.close().catch(() => {});
    this.#tabs = [];
  }

  async stop() {
    for (const end of this.#last.splice(0).reverse()) await end();
    await this.browser.close();
    await this.server?.stop();
  }
}

export class BlockServer {
  static async start(program, stored, port, folder = site, address = "127.0.0.1", more = [], vars = {}) {
    const server = new BlockServer();
    server.port = port ?? (await freePort());
    server.url = `http://${address}:${server.port}/`;
    const words = ["--store", stored, "--static", folder, "--listen", `${address}:${server.port}`, ...more];
    const env = { ...process.env, RUST_BACKTRACE: "0", ...vars };
    server.process = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"], env });
    server.log = "";
    server.process.stderr.on("data", (data) => (server.log = (server.log + data).slice(-20_000)));
    for (let tries = 0; ; tries += 1) {
      if (server.process.exitCode !== null) throw new Error(`block-server ended at once:\n${server.log}`);
      const up = await fetch(`${server.url}healthz`).then((reply) => reply.ok, () => false);
      if (up) return server;
      if (tries > 200) throw new Error(`block-server does not answer:\n${server.log}`);
      await sleep(25);
    }
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    const gone = once(this.process, "exit");
    this.process.kill("SIGTERM");
    // Graceful shutdown may wait for sockets; these tests have no more use for them.
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 2000);
    await gone;
    clearTimeout(timer);
  }
}

/** A real S3 server (`s3s-fs`) whose buckets are the folders of a folder. */
export class Buckets {
  static async start(program, folder) {
    const buckets = new Buckets();
    buckets.process = spawn(program, [folder], { stdio: ["pipe", "pipe", "inherit"] });
    await once(buckets.process, "spawn");
    const [line] = await once(buckets.process.stdout, "data");
    /** What a client of it has in its environment. */
    buckets.vars = JSON.parse(line);
    return buckets;
  }

  async stop() {
    const gone = once(this.process, "exit");
    this.process.stdin.end();
    await gone;
  }
}

/** Megabytes of the renderer that uses most, as the kernel counts it (PSS). */
export async function tabMemory(tab) {
  const session = await tab.page.context().browser().newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  let most = 0;
  for (const { type, id } of processInfo) {
    if (type !== "renderer") continue;
    const rollup = await readFile(`/proc/${id}/smaps_rollup`, "utf8").catch(() => "");
    most = Math.max(most, Number(/^Pss: +(\d+)/m.exec(rollup)?.[1] ?? 0) / 1000);
  }
  return most;
}

export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  return port;
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until a question is answered with something true. */
export async function until(question, what, ms = 20_000) {
  const end = performance.now() + ms;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (performance.now() > end) throw new Error(`waited ${ms / 1000} s in vain for ${what}`);
    await sleep(30);
  }
}
