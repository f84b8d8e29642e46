// What is written stays, in one tab at a time.

import assert from "node:assert/strict";

import { sleep, until } from "./world.mjs";

export function tests(test, world) {
  test("files are there after a reload", async () => {
    const tab = await world.shell();
    await tab.run("mkdir -p /root/work; seq 1 50000 > /root/work/numbers; ln -s numbers /root/work/link; chmod 600 /root/work/numbers");
    const { output: sum } = await tab.run("md5sum < /root/work/link");
    await tab.sync();
    await tab.reload();
    assert.equal((await tab.run("md5sum < /root/work/link")).output, sum);
    assert.match((await tab.run("stat -c %a /root/work/numbers")).output, /^600$/);
  });

  test("changes are stored within moments without being asked", async () => {
    const tab = await world.shell();
    await tab.run("echo kept > /root/kept");
    await sleep(2500);
    await tab.reload();
    assert.equal((await tab.run("cat /root/kept")).output, "kept");
  });

  test("sync in the guest makes a file durable at once", async () => {
    const tab = await world.shell();
    assert.equal((await tab.run("echo synced > /root/synced && sync /root/synced")).status, 0);
    await tab.reload();
    assert.equal((await tab.run("cat /root/synced")).output, "synced");
  });

  test("a removed file stays removed", async () => {
    const tab = await world.shell();
    await tab.run("rm /etc/motd && sync");
    await tab.reload();
    assert.notEqual((await tab.run("cat /etc/motd")).status, 0);
  });

  test("a second tab is told so and runs on a copy", async () => {
    const context = await world.context();
    const first = await world.shell({ context });
    await first.run("echo first > /root/who; sync");
    const second = await world.shell({ context });
    assert.match((await second.banners()).join(), /Another tab is using this disk/);
    assert.match(await second.page.locator("#mode").innerText(), /lost when this tab closes/);
    assert.notEqual((await second.run("cat /root/who")).status, 0);
    await second.run("echo second > /root/who; sync");
    await second.page.close();
    await first.reload();
    assert.deepEqual(await first.banners(), []);
    assert.equal((await first.run("cat /root/who")).output, "first");
  }, { seconds: 120 });

  test("reset forgets every change", async () => {
    const tab = await world.shell();
    await tab.run("echo gone > /root/gone; sync");
    await tab.page.click("#reset");
    await tab.page.click("#ask-yes");
    await until(async () => !(await tab.text()).includes("/root/gone"), "the reload");
    await tab.prompt();
    assert.notEqual((await tab.run("cat /root/gone")).status, 0);
  });

  test("another version of the image does not take the changes for its own", async () => {
    const tab = await world.shell();
    await tab.run("echo mine > /root/mine; sync");
    await tab.page.evaluate(async () => {
      await globalThis.skiff.delete();
      // As if the saved changes had been made on another version.
      const open = indexedDB.open("skiff:debian");
      const db = await new Promise((resolve) => (open.onsuccess = () => resolve(open.result)));
      const change = db.transaction("meta", "readwrite");
      change.objectStore("meta").put({ manifest: "ab".repeat(32), epoch: 7 }, "head");
      await new Promise((resolve) => (change.oncomplete = resolve));
      db.close();
    });
    await tab.page.reload();
    await until(async () => (await tab.page.locator("#boot-title").innerText()) === "The image has changed", "the choice");
    const choices = await tab.page.locator("#boot-actions button").allTextContents();
    assert.deepEqual(choices, ["Go on with the earlier version", "Reset and use the new one"]);
    await tab.page.getByText("Reset and use the new one").click();
    await tab.page.click("#ask-yes");
    await tab.prompt();
    assert.notEqual((await tab.run("cat /root/mine")).status, 0);
  });

  test("a browser that stores nothing still runs, and says so", async () => {
    const hooks = (page) => page.addInitScript(() => {});
    const context = await world.context();
    // The worker sees no IndexedDB, as with blocked site data.
    await context.route("**/worker-*.js", async (route) => {
      const reply = await route.fetch();
      await route.fulfill({ response: reply, body: `delete self.indexedDB; Object.defineProperty(self, "indexedDB", { value: undefined });${await reply.text()}` });
    });
    const tab = await world.shell({ context, hooks });
    assert.match((await tab.banners()).join(), /does not let the page store data/);
    assert.equal((await tab.run("echo works > /root/w; cat /root/w")).output, "works");
  });
}
