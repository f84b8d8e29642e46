// Kills a real browser at random moments while its guest writes and syncs, and looks at what is left.

import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { sleep, store, until } from "../../browser/world.mjs";
import { Random } from "../../faults/random.mjs";
import { Disk } from "./disk.mjs";
import { Promises } from "./promises.mjs";
import { Victim, compileWriter } from "./victim.mjs";

/** From the first promise of a life to its end. */
const LIFE_MS = [100, 4000];

/**
 * Kills so many browsers, one after the other, on one profile; after each, everything promised must be there and, once the disk
 * was mounted again, `e2fsck -fn` must have nothing to say. Throws when that is not so.
 */
export async function killBrowsers({ url, imageTools, count, seed, say = () => {} }) {
  const folder = await mkdtemp(join(tmpdir(), "skiff-kills-"));
  const random = new Random(seed);
  const promises = new Promises();
  try {
    const base = join(folder, "base.ext2");
    await promisify(execFile)(imageTools, ["--quiet", "export", `${store}/debian`, base]);
    const disk = await Disk.over(base, folder);
    const writer = (await compileWriter(folder)).toString("base64");
    const profile = join(folder, "profile");
    for (let kill = 0; kill <= count; kill += 1) {
      const victim = await Victim.start(profile);
      try {
        if (kill > 0) await check(victim, `after kill ${kill}`);
        const tab = await victim.shell(url);
        await mounted(tab);
        if (kill > 0) await checkFileSystem(victim, `after kill ${kill} and a mount`);
        if (kill < count) await life(tab, writer, kill);
      } finally {
        if (kill < count) await victim.kill();
        else await victim.quit();
      }
      if (kill < count) say(`kill ${kill + 1} of ${count}: ${promises.count} promises so far`);
    }
    return { kills: count, promises: promises.count };

    async function check(victim, when) {
      const archive = await victim.exported(url);
      if (!archive) throw new Error(`${when} nothing is saved`);
      await disk.apply(archive);
      const wrong = await promises.broken(disk);
      if (wrong.length) throw new Error(`${when}: ${wrong.slice(0, 10).join("; ")}`);
    }

    async function checkFileSystem(victim, when) {
      await disk.apply(await victim.exported(url));
      const complaint = await disk.complaint();
      if (complaint) throw new Error(`${when} e2fsck says:\n${complaint}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }

  /** Writes until the moment has come. */
  async function life(tab, writer, number) {
    const before = promises.count;
    await tab.page.exposeFunction("promised", (text) => promises.take(text));
    await tab.page.evaluate(
      async ({ text, seed }) => {
        const { skiff } = globalThis;
        const program = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
        await skiff.fs.writeFile("/tmp/writer", program, { mode: 0o755 });
        const decoder = new TextDecoder();
        const told = (data) => void globalThis.promised(decoder.decode(data, { stream: true }));
        await skiff.spawn("/tmp/writer", [String(seed)], { stdout: told, stderr: told });
      },
      { text: writer, seed: seed * 1000 + number },
    );
    await until(() => promises.count > before, "the first promise", 60_000);
    await sleep(random.whole(...LIFE_MS));
  }
}

/** The disk is mounted and nothing waits to be stored. */
async function mounted(tab) {
  await tab.page.evaluate(() => globalThis.skiff.sync());
}
