// What the files of the demo image hold, by the archive that it was made from and this computer's own tools.

import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

/** Unpacks a folder of a tar archive (`./usr/bin`) and returns its regular files: path in the guest, size, SHA-256. */
export async function filesOf(archive, folder) {
  const place = await mkdtemp(join(tmpdir(), "skiff-golden-"));
  try {
    // Names of devices are of no use here, and of users neither.
    await promisify(execFile)("tar", ["-xf", archive, "-C", place, "--no-same-owner", "--exclude=./dev/*", folder]);
    const files = [];
    for (const entry of await readdir(place, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath ?? entry.path, entry.name);
      const { size } = await stat(path);
      files.push({ path: path.slice(place.length), size, sum: await sumOf(path) });
    }
    return files.sort((a, b) => (a.path < b.path ? -1 : 1));
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

async function sumOf(path) {
  const sum = createHash("sha256");
  for await (const piece of createReadStream(path)) sum.update(piece);
  return sum.digest("hex");
}

/** Compares a stream that holds files one after the other with what they should be. */
export class Comparison {
  #files;
  #at = 0;
  #left;
  #sum = createHash("sha256");
  /** Paths of files that were not as they should be. */
  wrong = [];
  bytes = 0;

  constructor(files) {
    this.#files = files;
    this.#left = files[0]?.size ?? 0;
    this.#finish();
  }

  push(data) {
    this.bytes += data.length;
    while (data.length && this.#at < this.#files.length) {
      const piece = data.subarray(0, this.#left);
      this.#sum.update(piece);
      this.#left -= piece.length;
      data = data.subarray(piece.length);
      this.#finish();
    }
    if (data.length) this.wrong.push(`(${data.length} bytes too many)`);
  }

  /** Closes files that are complete. */
  #finish() {
    while (this.#left === 0 && this.#at < this.#files.length) {
      const { path, sum } = this.#files[this.#at];
      if (this.#sum.digest("hex") !== sum) this.wrong.push(path);
      this.#sum = createHash("sha256");
      this.#at += 1;
      this.#left = this.#files[this.#at]?.size ?? 0;
    }
  }

  /** Files compared so far, and whether that is all. */
  get done() {
    return this.#at;
  }

  get complete() {
    return this.#at === this.#files.length;
  }
}
