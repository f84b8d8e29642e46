// Firefox by its own remote agent: no driver program is needed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Bidi } from "./bidi.mjs";
import { EngineTab } from "./page.mjs";

const PROGRAMS = [process.env.FIREFOX, "/usr/bin/firefox-esr", "/usr/bin/firefox"];
/** What would reach for the network or ask questions. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "dom.disable_open_during_load": false,
  "extensions.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,",
  "toolkit.telemetry.server": "data:,",
};

export class Firefox {
  static engine = "firefox";
  #users = [];

  static async start() {
    const program = PROGRAMS.find((path) => path && existsSync(path));
    if (!program) throw new Error("there is no Firefox; set FIREFOX to its path");
    const firefox = new Firefox();
    firefox.folder = await mkdtemp(join(tmpdir(), "skiff-firefox-"));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
    await writeFile(join(firefox.folder, "user.js"), lines.join(""));
    const words = ["--headless", "--remote-debugging-port", "0", "--profile", firefox.folder, "--no-remote", "about:blank"];
    firefox.process = spawn(program, words, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HOME: firefox.folder } });
    const address = await new Promise((resolve, reject) => {
      let said = "";
      firefox.process.stderr.on("data", (data) => {
        said = (said + data).slice(-20_000);
        const found = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(said);
        if (found) resolve(found[1]);
      });
      firefox.process.on("exit", () => reject(new Error(`Firefox ended at once:\n${said}`)));
    });
    firefox.bidi = await Bidi.connect(`${address}/session`);
    const { capabilities } = await firefox.bidi.call("session.new", { capabilities: {} });
    firefox.version = `${capabilities.browserName} ${capabilities.browserVersion}`;
    return firefox;
  }

  /** A tab with storage of its own, or with that of another tab. */
  async tab(url, { like } = {}) {
    const userContext = like?.userContext ?? (await this.bidi.call("browser.createUserContext")).userContext;
    if (!like) this.#users.push(userContext);
    const { context } = await this.bidi.call("browsingContext.create", { type: "tab", userContext });
    const tab = Object.assign(new FirefoxTab(), { bidi: this.bidi, context, userContext });
    await tab.goto(url);
    return tab;
  }

  async afterTest() {
    for (const userContext of this.#users.splice(0)) await this.bidi.call("browser.removeUserContext", { userContext }).catch(() => {});
  }

  async stop() {
    await this.bidi.call("browser.close").catch(() => {});
    this.bidi.close();
    if (this.process.exitCode === null) {
      const timer = setTimeout(() => this.process.kill("SIGKILL"), 5000);
      await once(this.process, "exit");
      clearTimeout(timer);
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}

class FirefoxTab extends EngineTab {
  async goto(url) {
    await this.bidi.call("browsingContext.navigate", { context: this.context, url, wait: "complete" });
  }

  async reload() {
    await this.bidi.call("browsingContext.reload", { context: this.context, wait: "complete" });
  }

  async call(functionDeclaration, json) {
    const { result, exceptionDetails } = await this.bidi.call("script.callFunction", {
      functionDeclaration,
      awaitPromise: true,
      target: { context: this.context },
      arguments: [{ type: "string", value: json }],
      userActivation: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  }

  async act(actions) {
    await this.bidi.call("input.performActions", { context: this.context, actions });
  }

  async screenshot() {
    const { data } = await this.bidi.call("browsingContext.captureScreenshot", { context: this.context });
    return Buffer.from(data, "base64");
  }

  async close() {
    await this.bidi.call("browsingContext.close", { context: this.context });
  }
}
