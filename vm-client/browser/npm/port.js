// Where machines run unless the caller says: a Web Worker each, or what the surroundings have instead.

import { SkiffError } from "./error.js";

let start = () => {
  if (typeof Worker === "undefined") {
    throw new SkiffError({ code: "unsupported", message: 'there are no Web Workers here; in Node import "skiff-vm/node" first' });
  }
  // Not written as an address beside this file, which bundlers would take for one of theirs.
  if (!isOurs(import.meta.url)) return workerFrom(import.meta.url.replace(/[^/]*$/, "worker.js"));
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "skiff" });
};

export function startWorker() {
  return start();
}

/** For surroundings without workers. */
export function startWith(other) {
  start = other;
}

/**
 * A worker of a script that may lie on another host. Browsers start workers of a page's own host only (and none of a host in
 * a frame without an origin), but a worker of the page's own may import from anywhere that allows it.
 */
export function workerFrom(url) {
  if (isOurs(url)) return new Worker(url, { type: "module", name: "skiff" });
  // A classic worker, for Chromium starts no other where there is no origin. What comes before the import is done is kept.
  const code = `const early = [];
    self.onmessage = (event) => early.push(event);
    import(${JSON.stringify(url)}).then(() => early.forEach((event) => self.onmessage(event)), (error) => setTimeout(() => { throw error; }));`;
  const own = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  const worker = new Worker(own, { name: "skiff" });
  // The first answer tells that it was read.
  worker.addEventListener("message", () => URL.revokeObjectURL(own), { once: true });
  return worker;
}

function isOurs(url) {
  return globalThis.location === undefined || new URL(url, location.href).origin === globalThis.origin;
}
