// Entry of the Web Worker.

import { storedLists } from "./hotcode.js";
import { takeLock } from "./lock.js";
import { IndexedDbPages } from "./overlay.js";
import { serve } from "./serve.js";

// A message to ourselves comes back after the events that wait; `setTimeout` would sleep 4 ms.
const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()?.();

const port = { post: (report, transfer) => self.postMessage(report, transfer ?? []) };
let handle = null;

self.onmessage = ({ data }) => {
  // The first message says where the wasm module is: a bundler may have moved it away from this file.
  handle ??= serve(port, {
    module: data.module ?? new URL("./wasm/skiff_bg.wasm", import.meta.url),
    openPages: (name, manifest) => IndexedDbPages.open(name, manifest),
    openLayer: (name, manifest) => IndexedDbPages.openLayer(name, manifest),
    takeLock,
    hotLists: storedLists,
    soon: (callback) => {
      waiting.push(callback);
      channel.port2.postMessage(0);
    },
  });
  void handle(data);
};
