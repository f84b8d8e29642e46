import type { MachinePort } from "./index.js";

/** A port to a machine in this thread, for `Linux.create({ worker })`. Changes are kept in memory. */
export function inProcess(): MachinePort;

/** Makes the directory of a store absolute (`store/debian`), for `new CloudDevice(...)`; URLs stay as they are. */
export function imageUrl(text: string): string;
