// Images and files as WebVM's users have them, on a web server with every fault such servers have.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, openSync, readFileSync, readSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, normalize } from "node:path";
import { gzipSync } from "node:zlib";

import { root } from "./world.mjs";

const CHUNK = 128 * 1024;
const PROGRAMS = ["sh", "dash", "cat", "chmod", "cp", "echo", "ls", "md5sum", "mkdir", "rm", "stat", "sync", "uname", "wc"];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/**
 * A disk of revision 0, made by mke2fs as WebVM's workflow makes it, with a shell and some tools of the demo image.
 * @returns its path
 */
export function plainImage() {
  const image = join(root, "build/plain/debian.ext2");
  if (existsSync(image)) return image;
  const tree = join(root, "build/plain/tree");
  rmSync(tree, { recursive: true, force: true });
  mkdirSync(tree, { recursive: true });
  const wanted = ["./bin", "./lib", "./usr/lib/ld-linux.so.2", "./usr/lib/i386-linux-gnu/ld-linux.so.2"];
  const names = PROGRAMS.map((name) => `./usr/bin/${name}`);
  const libraries = ["libc.so.*", "libselinux.so.*", "libpcre2-8.so.*", "libcrypto.so.*", "libcap.so.*", "libattr.so.*", "libacl.so.*"];
  const archive = join(root, "build/demo/root.tar");
  const present = new Set(execFileSync("tar", ["-tf", archive], { maxBuffer: 1 << 28, encoding: "utf8" }).split("\n"));
  const matches = libraries.map((name) => new RegExp(`^\\./usr/lib/i386-linux-gnu/${name.replaceAll(".", "\\.").replace("*", ".*")}$`));
  const files = [...wanted, ...names].filter((name) => present.has(name));
  files.push(...[...present].filter((name) => matches.some((match) => match.test(name))));
  execFileSync("tar", ["-xf", archive, "-C", tree, "--no-same-owner", ...files]);
  for (const directory of ["dev", "etc", "proc", "root", "sys", "tmp"]) mkdirSync(join(tree, directory), { recursive: true });
  writeFileSync(join(tree, "etc/hostname"), "webvm\n");
  writeFileSync(join(tree, "root/numbers"), Array.from({ length: 200_000 }, (_, n) => `${n}\n`).join(""));
  const unfinished = `${image}.new`;
  execFileSync("truncate", ["-s", "64M", unfinished]);
  const mke2fs = existsSync("/sbin/mke2fs") ? "/sbin/mke2fs" : "mke2fs";
  execFileSync(mke2fs, ["-q", "-F", "-t", "ext2", "-r", "0", "-O", "none", "-b", "4096", "-d", tree, unfinished]);
  execFileSync("mv", [unfinished, image]);
  return image;
}

/** A web server on a port of its own. Set its fields to make it wrong. */
export class PlainHost {
  /** "ok", "whole" (knows no ranges), "gzip" (compresses, so answers whole), "hidden" (tells other origins nothing). */
  ranges = "ok";
  etag = '"one"';
  /** Files by path; others come from `folders`. */
  files = new Map();
  folders = new Map();
  asked = [];

  static async start() {
    const host = new PlainHost();
    host.image = plainImage();
    host.folders.set("/npm/", join(root, "vm-client/browser/npm/"));
    host.files.set("/", "<!doctype html><title>devices</title>");
    host.server = createServer((request, response) => host.#answer(request, response));
    await new Promise((resolve) => host.server.listen(0, "127.0.0.1", resolve));
    host.url = `http://127.0.0.1:${host.server.address().port}/`;
    return host;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  #answer(request, response) {
    const path = decodeURIComponent(new URL(request.url, this.url).pathname);
    this.asked.push(path);
    response.setHeader("Access-Control-Allow-Origin", "*");
    // What the browser kept of an earlier state would be another test.
    response.setHeader("Cache-Control", "no-store");
    if (this.ranges !== "hidden") response.setHeader("Access-Control-Expose-Headers", "Content-Range, ETag");
    if (path === "/debian.ext2") return this.#image(request, response);
    const piece = /^\/debian\.ext2\.(meta|c([0-9a-f]{6})\.txt)$/.exec(path);
    if (piece) return this.#piece(piece, response);
    const content = this.#content(path);
    if (content === undefined) return response.writeHead(404).end("not here");
    const type = path.endsWith("/") ? TYPES[".html"] : (TYPES[/\.\w+$/.exec(path)?.[0]] ?? "application/octet-stream");
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const body = Buffer.from(content);
    if (!range || this.ranges !== "ok") return response.writeHead(200, { "Content-Type": type }).end(body);
    const [first, last] = [Number(range[1]), Math.min(Number(range[2]), body.length - 1)];
    if (first >= body.length) return response.writeHead(416, { "Content-Range": `bytes */${body.length}` }).end();
    const headers = { "Content-Type": type, "Content-Range": `bytes ${first}-${last}/${body.length}`, ETag: hash(body) };
    response.writeHead(206, headers).end(body.subarray(first, last + 1));
  }

  #content(path) {
    if (this.files.has(path)) return this.files.get(path);
    for (const [prefix, folder] of this.folders) {
      const file = path.startsWith(prefix) ? normalize(join(folder, path.slice(prefix.length))) : "";
      if (file.startsWith(folder) && existsSync(file) && statSync(file).isFile()) return readFileSync(file);
    }
    return undefined;
  }

  #image(request, response) {
    const size = statSync(this.image).size;
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range || this.ranges === "whole" || this.ranges === "gzip") {
      const headers = this.ranges === "gzip" ? { "Content-Encoding": "gzip" } : {};
      // The start of it is enough: a client that has understood reads no further.
      const start = this.#slice(0, CHUNK);
      response.writeHead(200, { "Content-Type": "application/octet-stream", ...headers });
      return response.end(this.ranges === "gzip" ? gzipSync(start) : start);
    }
    const [first, last] = [Number(range[1]), Math.min(Number(range[2]), size - 1)];
    const headers = { "Content-Range": `bytes ${first}-${last}/${size}`, "Accept-Ranges": "bytes", ETag: this.etag };
    response.writeHead(206, headers).end(this.#slice(first, last + 1));
  }

  #piece([, what, number], response) {
    const size = statSync(this.image).size;
    response.setHeader("ETag", this.etag);
    if (what === "meta") return response.end(`${size}\n`);
    const first = parseInt(number, 16) * CHUNK;
    if (first >= size) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": "text/plain" }).end(this.#slice(first, Math.min(first + CHUNK, size)));
  }

  #slice(from, to) {
    const bytes = Buffer.alloc(to - from);
    this.fd ??= openSync(this.image, "r");
    readSync(this.fd, bytes, 0, bytes.length, from);
    return bytes;
  }
}

function hash(bytes) {
  return `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
}
