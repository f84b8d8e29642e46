// What both drivers share: a tab in which functions are evaluated and keys typed. A driver gives `call(source, json)`, which
// runs `async (json) => json` in the page, and `act(actions)` of WebDriver's Actions.

import { readTerminal } from "../browser/tab.mjs";
import { sleep, until } from "../browser/world.mjs";

/** Keys by WebDriver's code points. */
const KEYS = { Enter: "\ue007", Tab: "\ue004", Escape: "\ue00c", Control: "\ue009", Shift: "\ue008", ArrowUp: "\ue013" };
const PROMPT = /root@skiff:[^\n]*# $/;

export class EngineTab {
  /** Runs a function in the page; argument and result are JSON. */
  async evaluate(body, argument) {
    const source = `async (argument) => { try { return JSON.stringify({ value: await (${body})(JSON.parse(argument)) }); }
      catch (error) { return JSON.stringify({ error: String(error?.stack ?? error) + " " + (error?.message ?? "") }); } }`;
    const { value, error } = JSON.parse(await this.call(source, JSON.stringify(argument ?? null)));
    if (error) throw new Error(error);
    return value;
  }

  text() {
    return this.evaluate(readTerminal).catch(() => "");
  }

  async prompt(ms = 90_000) {
    await until(async () => PROMPT.test(await this.text()), "the prompt", ms);
  }

  async sees(pattern, ms = 60_000) {
    return until(async () => pattern.exec(await this.text()), `${pattern} in the terminal`, ms);
  }

  /** Types keys, one after the other, at whatever has the focus. */
  async press(...keys) {
    const actions = keys.flatMap((key) => {
      const value = KEYS[key] ?? key;
      return [{ type: "keyDown", value }, { type: "keyUp", value }];
    });
    await this.act([{ type: "key", id: "keyboard", actions }]);
  }

  /** Types a line into the terminal. */
  async line(text) {
    await this.evaluate(() => document.querySelector(".xterm-helper-textarea").focus());
    await this.press(...text, "Enter");
  }

  /** Runs a command at the prompt, without the time that keys take, and returns what it printed. */
  async shell(command) {
    const mark = `m${Math.random().toString(36).slice(2, 8)}`;
    const line = `${command}; echo "<${mark.slice(0, 1)}""${mark.slice(1)}>"\r`;
    await this.evaluate((line) => globalThis.skiff.input(line), line);
    const [, before] = await this.sees(new RegExp(`([\\s\\S]*)<${mark}>\\n`));
    await this.prompt();
    return before.slice(before.lastIndexOf('>"\n') + 3).trimEnd();
  }

  async settled() {
    await sleep(100);
  }
}
