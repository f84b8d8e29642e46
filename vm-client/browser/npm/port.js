// Where machines run unless the caller says: a Web Worker each, or what the surroundings have instead.

import { SkiffError } from "./error.js";

let start = () => {
  if (typeof Worker === "undefined") {
    throw new SkiffError({ code: "unsupported", message: 'there are no Web Workers here; in Node import "skiff-vm/node" first' });
  }
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "skiff" });
};

export function startWorker() {
  return start();
}

/** For surroundings without workers. */
export function startWith(other) {
  start = other;
}
