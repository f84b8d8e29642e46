// <skiff-terminal> in pages that are not ours.

import assert from "node:assert/strict";

import { PlainHost } from "./plain.mjs";
import { site, until } from "./world.mjs";

const page = (script, body) => `<!doctype html><meta charset="utf-8"><script type="module" src="${script}"></script>${body}`;

/** The text of an element's terminal. */
const screen = (tab, id = "t") =>
  tab.page.evaluate((id) => document.getElementById(id).shadowRoot?.querySelector(".xterm-rows")?.innerText ?? "", id);
const message = (tab) => tab.page.evaluate(() => document.querySelector("skiff-terminal").shadowRoot?.querySelector(".message").innerText ?? "");

export function tests(test, world) {
  const embed = async (html) => {
    const url = `${world.server.url}lesson.html`;
    const hooks = (page) => page.route(url, (route) => route.fulfill({ contentType: "text/html", body: html }));
    return world.tab({ url, hooks });
  };

  test("it runs a command, takes keys and keeps a named disk", async () => {
    const html = page("skiff-terminal.js", `<skiff-terminal id="t" image="./debian" disk="lesson"
      cmd="cat /root/n 2>/dev/null; echo lesson; read x; echo got $x; echo $x > /root/n; sync; exit 3"></skiff-terminal>`);
    const tab = await embed(html);
    await until(async () => /lesson/.test(await screen(tab)), "the command");
    await tab.page.locator(".xterm-helper-textarea").focus();
    await tab.page.keyboard.type("one\n");
    await until(async () => /status 3/.test(await message(tab)), "the end");
    assert.match(await screen(tab), /got one/);
    await tab.page.getByRole("button", { name: "Start again" }).click();
    await until(async () => /one[\s\S]*lesson/.test(await screen(tab)), "the disk");
    await tab.page.reload();
    await until(async () => /one[\s\S]*lesson/.test(await screen(tab)), "the disk after a reload");
  }, { seconds: 90 });

  test("two of them share a page and nothing else; one that is removed ends", async () => {
    const one = (id) => `<skiff-terminal id="${id}" image="./debian" memory="64" cmd="echo I am ${id} > /root/me; cat /root/me; exec sleep 1000"></skiff-terminal>`;
    const tab = await embed(page("skiff-terminal.js", one("t") + one("u")));
    for (const id of ["t", "u"]) await until(async () => (await screen(tab, id)).includes(`I am ${id}`), id);
    const left = await tab.page.evaluate(async () => {
      const [t, u] = document.querySelectorAll("skiff-terminal");
      const machine = t.linux;
      t.remove();
      const gone = await machine.run("/bin/sleep", ["1000"], { stdout: "pipe" }).catch((error) => error.code);
      return [gone, t.linux, await u.linux.fs.readFile("/root/me", "utf8")];
    });
    assert.deepEqual(left, ["closed", null, "I am u\n"]);
  }, { seconds: 90 });

  test("the client may lie on another host, and the page in a frame without an origin", async () => {
    const [host, other] = await Promise.all([PlainHost.start(), PlainHost.start()]);
    world.defer(() => Promise.all([host.stop(), other.stop()]));
    other.folders.set("/client/", site);
    const image = `${world.server.url}debian`;
    const tag = `<skiff-terminal id="t" image="${image}" memory="64" disk="d" cmd="cat /etc/hostname; exec sleep 1000"></skiff-terminal>`;
    const html = page(`${other.url}client/skiff-terminal.js`, tag);
    host.files.set("/lesson.html", html);
    const tab = await world.tab({ url: `${host.url}lesson.html` });
    await until(async () => /skiff/.test(await screen(tab)), "the program", 40_000);
    assert.equal(await tab.page.evaluate(() => document.getElementById("t").linux.disk.persistent), true);

    // The package as it is, too, which finds its worker by itself.
    const name = await tab.page.evaluate(async ([npm, image]) => {
      const { CloudDevice, Linux } = await import(npm);
      const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev: await CloudDevice.create(image) }], memory: 64 << 20 });
      return linux.fs.readFile("/etc/hostname", "utf8");
    }, [`${other.url}npm/index.js`, image]);
    assert.equal(name, "skiff\n");

    host.files.set("/frame.html", '<!doctype html><iframe sandbox="allow-scripts" width="800" height="400" src="lesson.html"></iframe>');
    const framed = await world.tab({ url: `${host.url}frame.html` });
    const frame = await until(() => framed.page.frames()[1], "the frame");
    const inside = () => frame.evaluate(() => document.getElementById("t")?.shadowRoot?.querySelector(".xterm-rows")?.innerText ?? "");
    await until(async () => /skiff/.test(await inside()), "the program in the frame", 40_000);
    const said = await frame.evaluate(() => [globalThis.origin, document.getElementById("t").linux.disk.persistent]);
    assert.deepEqual(said, ["null", false]);
  }, { seconds: 120 });

  test("what goes wrong is said in the element", async () => {
    const tab = await embed(page("skiff-terminal.js", '<skiff-terminal image="./nosuch"></skiff-terminal>'));
    await until(async () => /nosuch/.test(await message(tab)), "the words");
    await tab.page.evaluate(() => document.querySelector("skiff-terminal").removeAttribute("image"));
    await until(async () => /wants an image/.test(await message(tab)), "the other words");
  });
}
