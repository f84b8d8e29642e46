import type { Failure, Linux } from "./index.js";

/**
 * `<skiff-terminal image cmd disk memory cwd screenreader>`: a machine and its terminal.
 *
 * - `image`: `STORE_URL/name[@tag|@b3:HASH]`, relative to the page.
 * - `cmd`: what /bin/sh runs, a login shell unless told; `cwd`: where, /root unless told.
 * - `disk`: the name under which changes are kept in this browser; without it they are lost.
 * - `memory`: MiB, 512 unless told.
 * - `screenreader`: present, the terminal is made for screen readers.
 *
 * Ctrl+Shift+E leaves the terminal by the keyboard. On touch screens a row of keys is below it.
 *
 * Changing `image`, `cmd`, `disk` or `memory` starts anew. It fires `ready` (detail: the machine), `exit` (`{ status }`), `notice` and
 * `crash` (a `Failure`), which bubble.
 */
export class SkiffTerminal extends HTMLElement {
  readonly linux: Linux | null;
  restart(): Promise<void>;
}

declare global {
  interface HTMLElementTagNameMap {
    "skiff-terminal": SkiffTerminal;
  }
  interface HTMLElementEventMap {
    ready: CustomEvent<Linux>;
    exit: CustomEvent<{ status: number }>;
    notice: CustomEvent<Failure>;
    crash: CustomEvent<Failure>;
  }
}
