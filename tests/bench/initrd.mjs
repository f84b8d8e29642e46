// Packs a tree into an initial root file system for a kernel (the "newc" form of cpio, as the kernel's documentation
// `driver-api/early-userspace/buffer-format` describes it): `node initrd.mjs TREE OUT`.

import { createWriteStream } from "node:fs";
import { lstat, readFile, readdir, readlink } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";

import { LEFT_OUT } from "./hosts/v86.mjs";

const INIT = `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty raw -echo
echo bench is ready
exec setsid /bin/sh
`;
const [, , tree, out] = process.argv;
const stream = createWriteStream(out);
let inode = 0;
let written = 0;

async function put(data) {
  written += data.length;
  if (!stream.write(data)) await once(stream, "drain");
}

const padding = () => Buffer.alloc((4 - (written % 4)) % 4);

async function entry(name, mode, data) {
  const fields = [(inode += 1), mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, name.length + 1, 0];
  await put(Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`));
  await put(padding());
  await put(data);
  await put(padding());
}

async function walk(path) {
  for (const name of (await readdir(join(tree, path))).sort()) {
    const inner = path ? `${path}/${name}` : name;
    if (LEFT_OUT.some((pattern) => pattern.test(inner))) continue;
    const full = join(tree, inner);
    const stats = await lstat(full);
    if (stats.isSymbolicLink()) await entry(inner, stats.mode, Buffer.from(await readlink(full)));
    else if (stats.isFile()) await entry(inner, stats.mode, await readFile(full));
    else if (stats.isDirectory()) {
      await entry(inner, stats.mode, Buffer.alloc(0));
      await walk(inner);
    }
  }
}

await walk("");
await entry("bench/init", 0o100755, Buffer.from(INIT));
await entry("TRAILER!!!", 0, Buffer.alloc(0));
stream.end();
await once(stream, "finish");
