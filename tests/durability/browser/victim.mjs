// A browser of its own, with a profile that outlives it, to be killed.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { chromium } from "playwright-core";

import { browserProgram, root, sleep, until } from "../../browser/world.mjs";
import { Tab } from "../../browser/tab.mjs";

const FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0", "--disable-dev-shm-usage"];
/** Answered by the test itself: a page of the origin that starts no machine. */
const QUIET = "quiet.html";

/** Compiles writer.c for the guest. */
export async function compileWriter(folder) {
  const program = join(folder, "writer");
  await promisify(execFile)("gcc", ["-m32", "-static", "-O2", "-Wall", "-o", program, `${root}tests/durability/browser/writer.c`]);
  return readFile(program);
}

export class Victim {
  static async start(profile) {
    const victim = new Victim();
    await rm(join(profile, "DevToolsActivePort"), { force: true });
    // Its own group: a kill takes every process of it at once.
    victim.process = spawn(browserProgram(), [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], { detached: true, stdio: "ignore" });
    victim.gone = once(victim.process, "exit");
    const port = await until(async () => (await readFile(join(profile, "DevToolsActivePort"), "utf8").catch(() => "")).split("\n")[0], "the browser", 60_000);
    victim.browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`);
    victim.context = victim.browser.contexts()[0];
    return victim;
  }

  /** Ends every process of the browser in an instant. */
  async kill() {
    process.kill(-this.process.pid, "SIGKILL");
    await this.gone;
    await this.browser.close().catch(() => {});
  }

  /** Ends it as a person would. */
  async quit() {
    await this.browser.newBrowserCDPSession().then((session) => session.send("Browser.close")).catch(() => {});
    await Promise.race([this.gone, sleep(5000).then(() => this.kill())]);
  }

  /** The demo page, at the prompt. */
  async shell(url) {
    const tab = await Tab.open(this.context, url);
    await tab.prompt(120_000);
    return tab;
  }

  /** The saved changes as `IDBDevice.export` gives them, without starting a machine; null when there are none. */
  async exported(url) {
    const page = await this.context.newPage();
    await page.route(`**/${QUIET}`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><title>quiet</title>" }));
    await page.route("**/npm/*.js", async (route) => {
      const name = new URL(route.request().url()).pathname.split("/").at(-1);
      await route.fulfill({ contentType: "text/javascript", body: await readFile(`${root}vm-client/browser/npm/${name}`) });
    });
    await page.goto(url + QUIET);
    const text = await page.evaluate(async () => {
      const { exportPages } = await import("./npm/archive.js");
      let file;
      try {
        file = await exportPages("debian");
      } catch (error) {
        if (error.name === "NothingSaved") return null;
        throw error;
      }
      return new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
        reader.readAsDataURL(file);
      });
    });
    await page.close();
    return text === null ? null : Buffer.from(text, "base64");
  }
}
