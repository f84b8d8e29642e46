// The disk of a browser, put together on this computer and looked at with e2fsprogs.

import { execFile } from "node:child_process";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const execute = promisify(execFile);
const PAGE = 4096;
const RECORD = 8 + PAGE;
/** Tools of e2fsprogs may be in a folder that is only in root's path. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: "C" };

export class Disk {
  #applied = new Set();

  /** `base` is the image's disk as a file; it is not changed. */
  static async over(base, folder) {
    const disk = new Disk();
    disk.folder = await mkdtemp(join(folder, "disk-"));
    disk.path = join(disk.folder, "disk.ext2");
    await execute("cp", ["--sparse=always", "--reflink=auto", base, disk.path]);
    disk.base = await open(base, "r");
    disk.file = await open(disk.path, "r+");
    return disk;
  }

  /** Makes it the base with the pages of an exported file (`archive.js` has the format), and nothing else. */
  async apply(archive) {
    const start = 12 + archive.readUInt32LE(8);
    const pages = new Map();
    for (let at = start; at + RECORD + 4 <= archive.length; at += RECORD) {
      pages.set(archive.readDoubleLE(at), archive.subarray(at + 8, at + RECORD));
    }
    for (const number of this.#applied) {
      if (pages.has(number)) continue;
      const { buffer, bytesRead } = await this.base.read(Buffer.alloc(PAGE), 0, PAGE, number * PAGE);
      await this.file.write(buffer, 0, bytesRead, number * PAGE);
    }
    const { size } = await this.base.stat();
    for (const [number, page] of pages) {
      await this.file.write(page, 0, Math.min(PAGE, size - number * PAGE), number * PAGE);
    }
    this.#applied = new Set(pages.keys());
  }

  /** What `e2fsck -fn` complains of; null if nothing. */
  async complaint() {
    try {
      await execute("e2fsck", ["-fn", this.path], { env });
      return null;
    } catch (error) {
      return `${error.stdout}${error.stderr}`;
    }
  }

  /** Reads files; those that are not there are missing in the answer. */
  async read(paths) {
    const out = await mkdtemp(join(this.folder, "out-"));
    const commands = paths.map((path, index) => `dump ${path} ${join(out, String(index))}`);
    try {
      // Commands are read from a file; it complains of files that are not there on standard error.
      await new Promise((resolve, reject) => {
        const child = execFile("debugfs", ["-f", "-", this.path], { env, maxBuffer: 1 << 24 }, (error) => (error ? reject(error) : resolve()));
        child.stdin.end(`${commands.join("\n")}\n`);
      });
      const found = new Map();
      for (const [index, path] of paths.entries()) {
        const bytes = await readFile(join(out, String(index))).catch(() => null);
        if (bytes) found.set(path, bytes);
      }
      return found;
    } finally {
      await rm(out, { recursive: true });
    }
  }

  async remove() {
    await this.base.close();
    await this.file.close();
    await rm(this.folder, { recursive: true });
  }
}
