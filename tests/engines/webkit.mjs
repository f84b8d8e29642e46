// WebKitGTK by WebKitWebDriver (w3.org/TR/webdriver2). Its browser wants a display: Xvfb gives one where there is none.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";

import { freePort, sleep } from "../browser/world.mjs";
import { EngineTab } from "./page.mjs";

const DRIVER = "/usr/bin/WebKitWebDriver";
const BROWSERS = ["4.1", "6.0", "4.0"].flatMap((api) => [
  `/usr/lib/x86_64-linux-gnu/webkit2gtk-${api}/MiniBrowser`,
  `/usr/lib/aarch64-linux-gnu/webkit2gtk-${api}/MiniBrowser`,
  `/usr/lib/x86_64-linux-gnu/webkitgtk-${api}/MiniBrowser`,
]);

export class WebKit {
  static engine = "webkit";
  #sessions = [];
  #children = [];

  static async start() {
    if (!existsSync(DRIVER)) throw new Error("there is no WebKitWebDriver; please install webkit2gtk-driver");
    const webkit = new WebKit();
    const env = { ...process.env, GDK_BACKEND: "x11", WEBKIT_DISABLE_COMPOSITING_MODE: "1", LIBGL_ALWAYS_SOFTWARE: "1" };
    if (!env.DISPLAY) env.DISPLAY = await webkit.#display();
    const port = await freePort();
    webkit.#spawn(DRIVER, [`--port=${port}`, "--host=127.0.0.1"], env);
    webkit.url = `http://127.0.0.1:${port}`;
    for (let tries = 0; ; tries += 1) {
      const status = await fetch(`${webkit.url}/status`).then((reply) => reply.json(), () => null);
      if (status?.value?.ready) break;
      if (tries > 200) throw new Error("WebKitWebDriver does not answer");
      await sleep(50);
    }
    return webkit;
  }

  #spawn(program, words, env) {
    const child = spawn(program, words, { stdio: ["ignore", "ignore", "ignore"], env });
    this.#children.push(child);
    return child;
  }

  async #display() {
    for (let number = 90; number < 200; number += 1) {
      const lock = `/tmp/.X${number}-lock`;
      const socket = `/tmp/.X11-unix/X${number}`;
      if (existsSync(lock) || existsSync(socket)) continue;
      this.#spawn("Xvfb", [`:${number}`, "-screen", "0", "1280x900x24", "-nolisten", "tcp"], process.env);
      for (let tries = 0; tries < 200 && !existsSync(socket); tries += 1) await sleep(50);
      if (existsSync(socket)) return `:${number}`;
    }
    throw new Error("there is no display, and Xvfb does not start");
  }

  async request(method, path, body) {
    const options = { method, headers: { "Content-Type": "application/json" } };
    if (method === "POST") options.body = JSON.stringify(body ?? {});
    const { value } = await (await fetch(this.url + path, options)).json();
    if (value?.error) throw new Error(`${path}: ${value.error}: ${value.message}`);
    return value;
  }

  /** A tab with storage of its own (a session), or with that of another tab. */
  async tab(url, { like } = {}) {
    if (like) {
      const { handle } = await this.request("POST", `${like.path}/window/new`, { type: "tab" });
      const tab = Object.assign(new WebKitTab(), { webkit: this, path: like.path, handle });
      await tab.goto(url);
      return tab;
    }
    const binary = BROWSERS.find(existsSync);
    if (!binary) throw new Error("there is no MiniBrowser of WebKitGTK; please install libwebkit2gtk-4.1-0");
    // One driver has one session at a time.
    await this.afterTest();
    const options = { binary, args: ["--automation"] };
    const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options, timeouts: { script: 180_000, pageLoad: 60_000 } } };
    const { sessionId, capabilities: got } = await this.request("POST", "/session", { capabilities });
    this.version = `${got.browserName} ${got.browserVersion}`;
    const path = `/session/${sessionId}`;
    this.#sessions.push(path);
    const tab = Object.assign(new WebKitTab(), { webkit: this, path, handle: await this.request("GET", `${path}/window`) });
    await tab.goto(url);
    return tab;
  }

  async afterTest() {
    for (const path of this.#sessions.splice(0)) await this.request("DELETE", path).catch(() => {});
  }

  async stop() {
    await this.afterTest();
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null) continue;
      child.kill("SIGTERM");
      await once(child, "exit");
    }
  }
}

class WebKitTab extends EngineTab {
  async #to(method, what, body) {
    // Tabs of one session take turns at being the current one.
    if (this.webkit.current !== this.handle) await this.webkit.request("POST", `${this.path}/window`, { handle: this.handle });
    this.webkit.current = this.handle;
    return this.webkit.request(method, this.path + what, body);
  }

  async goto(url) {
    await this.#to("POST", "/url", { url });
  }

  async reload() {
    await this.#to("POST", "/refresh");
  }

  async call(source, json) {
    const script = `const done = arguments[arguments.length - 1]; (${source})(arguments[0]).then(done, (error) => done(JSON.stringify({ error: String(error) })));`;
    return this.#to("POST", "/execute/async", { script, args: [json] });
  }

  async act(actions) {
    await this.#to("POST", "/actions", { actions });
  }

  async screenshot() {
    return Buffer.from(await this.#to("GET", "/screenshot"), "base64");
  }

  async close() {
    await this.#to("DELETE", "/window");
  }
}
