// The page for people with a screen reader, without a mouse, or with a phone.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";

import { root, until } from "./world.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
/** Pictures for people to look at. */
const PICTURES = `${root}build/pictures`;

export function tests(test, world) {
  const picture = async (tab, name) => {
    await mkdir(PICTURES, { recursive: true });
    await tab.page.screenshot({ path: `${PICTURES}/${name}.png` });
  };

  test("a phone has a row of keys, and Ctrl holds for one key", async () => {
    const context = await world.context(PHONE);
    const tab = await world.shell({ context });
    await tab.type("cat");
    await tab.page.keyboard.press("Enter");
    await tab.page.getByRole("button", { name: "Control, for the next key" }).tap();
    await tab.page.keyboard.insertText("c");
    await tab.prompt();
    await tab.type("echo $?\n");
    await tab.sees(/\n130\n/);
    // Tab completes, an arrow brings the line back.
    await tab.type("cat /etc/hostn");
    await tab.page.getByRole("button", { name: "Tab", exact: true }).tap();
    await tab.sees("cat /etc/hostname");
    await tab.page.keyboard.press("Enter");
    await tab.sees(/\nskiff\n/);
    await tab.page.getByRole("button", { name: "Up" }).tap();
    await tab.sees(/# cat \/etc\/hostname *$/);
    // Ctrl with an arrow goes a word to the left: the slash lands before "hostname".
    await tab.page.getByRole("button", { name: "Control, for the next key" }).tap();
    await tab.page.getByRole("button", { name: "Left" }).tap();
    await tab.page.keyboard.insertText("../etc/");
    await tab.sees(/# cat \/etc\/\.\.\/etc\/$/);
    await tab.page.keyboard.press("Enter");
    await tab.sees(/\.\.\/etc\/hostname *\nskiff\n/);
    await tab.page.getByRole("button", { name: "Control, for the next key" }).tap();
    await picture(tab, "phone");
    const { width, keys } = await tab.page.evaluate(() => {
      const inside = (button) => {
        const { left, right, bottom, height } = button.getBoundingClientRect();
        return left >= 0 && right <= innerWidth && bottom <= innerHeight && height >= 36;
      };
      return { width: document.documentElement.scrollWidth, keys: [...document.querySelectorAll(".keys button")].map(inside) };
    });
    assert.deepEqual([width, keys], [390, Array(14).fill(true)]);
  }, { seconds: 120 });

  test("on a phone the rest is in a menu, and the page follows the screen's keyboard", async () => {
    const context = await world.context(PHONE);
    const tab = await world.shell({ context });
    const more = tab.page.getByRole("button", { name: "More" });
    const entry = tab.page.getByRole("button", { name: "Export" });
    assert.equal(await entry.isVisible(), false);
    await more.tap();
    assert.equal(await entry.isVisible(), true);
    await picture(tab, "phone-menu");
    await tab.page.locator("#terminal").tap({ position: { x: 100, y: 600 } });
    await until(async () => !(await entry.isVisible()), "the menu to close");
    await more.tap();
    await tab.page.keyboard.press("Escape");
    assert.deepEqual([await entry.isVisible(), await more.getAttribute("aria-expanded")], [false, "false"]);
    // The keyboard comes up: the terminal gets fewer rows, and the keys lie above it.
    const rows = () => tab.page.evaluate(() => globalThis.skiff.terminal.rows);
    const before = await rows();
    await tab.page.setViewportSize({ width: 390, height: 480 });
    await until(async () => (await rows()) < before - 10, "fewer rows");
    const bottom = await tab.page.evaluate(() => document.querySelector("footer").getBoundingClientRect().bottom);
    assert.equal(bottom, 480);
    assert.equal((await tab.run("stty size")).output, `${await rows()} ${await tab.page.evaluate(() => globalThis.skiff.terminal.cols)}`);
  }, { seconds: 120 });

  test("a wide screen with a mouse has no row of keys", async () => {
    const tab = await world.shell();
    assert.equal(await tab.page.locator(".keys").isVisible(), false);
    await picture(tab, "page");
  });

  test("everything is reached by the keyboard, and the terminal is left again", async () => {
    const tab = await world.shell();
    const focused = () => tab.page.evaluate(() => document.activeElement.id || document.activeElement.className);
    await tab.page.locator(".xterm-helper-textarea").focus();
    // Tab belongs to the guest.
    await tab.type("cat /etc/hostn");
    await tab.page.keyboard.press("Tab");
    await tab.sees("cat /etc/hostname");
    assert.equal(await focused(), "xterm-helper-textarea");
    await tab.page.keyboard.press("Control+Shift+E");
    assert.equal(await focused(), "paste");
    const seen = [];
    for (let presses = 0; presses < 8 && seen.at(-1) !== "xterm-helper-textarea"; presses += 1) {
      await tab.page.keyboard.press("Tab");
      seen.push(await focused());
    }
    assert.deepEqual(seen, ["speak", "export", "import", "reset", "xterm-helper-textarea"]);
    await tab.page.locator("#reset").focus();
    await tab.page.keyboard.press("Enter");
    await until(() => tab.page.locator("#ask").isVisible(), "the question");
    await tab.page.keyboard.press("Escape");
    assert.equal(await tab.page.locator("#ask").isVisible(), false);
  });

  test("a screen reader is told what the terminal says, now and after a reload", async () => {
    const tab = await world.shell();
    assert.equal(await tab.page.locator(".xterm-accessibility").count(), 0);
    await tab.page.getByRole("button", { name: "Screen reader" }).click();
    // As keys: xterm.js leaves inserted text to the screen reader in this mode.
    await tab.page.keyboard.type("echo spoken $((6*7))\n");
    const live = () => tab.page.locator(".xterm-accessibility [aria-live]").innerText();
    await until(async () => /spoken 42/.test(await live()), "the words");
    const rows = () => tab.page.locator(".xterm-accessibility-tree").innerText();
    await until(async () => /spoken 42/.test(await rows()), "the rows");
    await tab.reload();
    await until(async () => (await tab.page.locator(".xterm-accessibility").count()) === 1, "the mode");
    assert.equal(await tab.page.locator("#speak").getAttribute("aria-pressed"), "true");
  });
}
