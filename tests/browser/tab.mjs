// A tab with the demo page, used as a person would: keys in, the screen out.

import { sleep, until } from "./world.mjs";

const PROMPT = /root@skiff:[^\n]*# $/;
const BOOT_MS = 45_000;

/** Everything the terminal of the demo page holds; runs in the page. */
export function readTerminal() {
  const buffer = globalThis.skiff?.terminal?.buffer.active;
  if (!buffer) return "";
  let text = "";
  for (let row = 0; row < buffer.length; row += 1) {
    const line = buffer.getLine(row);
    const cut = row < buffer.baseY + buffer.cursorY;
    // Spaces up to the cursor count: a prompt ends in one.
    const upTo = row === buffer.baseY + buffer.cursorY ? buffer.cursorX : undefined;
    const piece = line.translateToString(upTo === undefined, 0, upTo);
    text += (row > 0 && !line.isWrapped ? "\n" : "") + piece;
    if (!cut) break;
  }
  return text;
}

export class Tab {
  #next = 1;
  errors = [];

  static async open(context, url, hooks) {
    const tab = new Tab();
    tab.page = await context.newPage();
    tab.page.on("pageerror", (error) => tab.errors.push(error));
    await hooks?.(tab.page);
    tab.opened = performance.now();
    await tab.page.goto(url);
    return tab;
  }

  /** Everything the terminal holds, wrapped lines joined. */
  async text() {
    // A page that is being loaded shows nothing yet.
    return this.page.evaluate(readTerminal).catch((error) => (/navigation|destroyed/.test(error.message) ? "" : Promise.reject(error)));
  }

  /** The rows on the screen, also those below the cursor. */
  async rows() {
    return this.page.evaluate(() => {
      const buffer = globalThis.skiff.terminal.buffer.active;
      const rows = globalThis.skiff.terminal.rows;
      return Array.from({ length: rows }, (_, row) => buffer.getLine(buffer.baseY + row)?.translateToString(true) ?? "");
    });
  }

  async prompt(ms = BOOT_MS) {
    await until(async () => PROMPT.test(await this.text()), "the prompt", ms);
  }

  /** Types into the terminal. */
  async type(text) {
    await this.page.locator(".xterm-helper-textarea").focus();
    for (const piece of text.split(/(\n)/)) {
      if (piece === "\n") await this.page.keyboard.press("Enter");
      else if (piece) await this.page.keyboard.insertText(piece);
    }
  }

  async press(key) {
    await this.page.locator(".xterm-helper-textarea").focus();
    await this.page.keyboard.press(key);
  }

  /** Waits until the terminal's text matches. */
  async sees(pattern, ms = 20_000) {
    const match = async () => {
      const text = await this.text();
      return typeof pattern === "string" ? text.includes(pattern) : pattern.exec(text);
    };
    return until(match, `${pattern} in the terminal`, ms);
  }

  /** Runs a command at the prompt and returns what it printed and its status. */
  async run(command, ms = 30_000) {
    const mark = `done-${this.#next++}`;
    // The mark is spelt differently in the command, so that its echo is not taken for it.
    await this.type(`${command}; echo "<$?:"${mark}">"\n`);
    const [, before, status] = await this.sees(new RegExp(`([\\s\\S]*)<(\\d+):${mark}>\\n`), ms);
    const start = before.lastIndexOf(`"${mark}">"\n`);
    await this.prompt(ms);
    const output = before.slice(start + `"${mark}">"\n`.length);
    return { output: output.replace(/\n$/, ""), status: Number(status) };
  }

  /** The texts of the banners. */
  async banners() {
    return this.page.locator(".banner span").allTextContents();
  }

  /** Waits until the guest's changes are stored. */
  async sync() {
    await this.page.evaluate(() => globalThis.skiff.sync());
  }

  async reload() {
    await this.page.reload();
    await this.prompt();
  }

  /** What a failed test shows. */
  async describe() {
    try {
      const boot = await this.page.locator("#boot").innerText({ timeout: 500 }).catch(() => "");
      const said = [...this.errors.map((error) => `page error: ${error.message}`), ...(await this.banners()), boot];
      return [...said, await Promise.race([this.text(), sleep(1000)])].filter(Boolean).join("\n");
    } catch (error) {
      return `(${error.message})`;
    }
  }
}
