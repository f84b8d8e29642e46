import type { MachinePort } from "./index.js";

/**
 * A port to a machine in this thread: what `Linux.create` uses without a `worker` once this module is imported. Changes of an `OverlayDevice` are kept in
 * `globalThis.indexedDB` where the program has put one (Node has none of its own), and in memory otherwise. `hotCodeFile` is a
 * file for the list of hot code (`LinuxOptions.hotCode`); without one it is kept in that `indexedDB`, or not at all.
 */
export function inProcess(options?: { hotCodeFile?: string }): MachinePort;

/** Makes the directory of a store absolute (`store/debian`), for `CloudDevice.create`; URLs stay as they are. */
export function imageUrl(text: string): string;
