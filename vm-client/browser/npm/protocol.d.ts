/**
 * The messages between a page and the worker that holds one machine. `README.md` tells the story; the types are the
 * contract. Every request with an `id` is answered by one `reply` or `failure` with the same `id`.
 */
export type Request =
  | { type: "open"; id: number; options: OpenOptions }
  | { type: "data"; id: number; device: number; path: string; data: Uint8Array }
  | { type: "spawn"; id: number; process: number; program: Program }
  | { type: "stdin"; process: number; data: Uint8Array | null }
  | { type: "shown"; stream: StreamName; bytes: number }
  | { type: "kill"; process: number; signal: number }
  | { type: "input"; vt: number; data: Uint8Array }
  | { type: "resize"; vt: number; columns: number; rows: number }
  | { type: "hidden"; hidden: boolean }
  | { type: "online" }
  | { type: "fs"; id?: number; op: string; args: unknown[] }
  | { type: "place"; id: number; vt: number }
  | { type: "token"; id: number; path: string; token: string }
  | { type: "sync"; id: number }
  // Answered with what is not stored: epoch (undefined where changes are kept in memory only), numbers of pages, the pages one
  // behind the other, numbers of pages that are the image's again.
  | { type: "unsaved"; id: number }
  // Answered at once.
  | { type: "ping"; id: number }
  | { type: "profile"; id: number }
  | { type: "startProfile"; id: number }
  // Answered with a `TimeProfile` (`index.d.ts`).
  | { type: "timeProfile"; id: number }
  | { type: "diagnostics"; id: number }
  | { type: "close"; id: number };

export type Report =
  | { type: "reply"; id: number; value?: unknown }
  | { type: "failure"; id: number; error: Failure }
  | { type: "output"; vt: number; data: Uint8Array }
  | { type: "stdout"; process: number; data: Uint8Array }
  | { type: "stderr"; process: number; data: Uint8Array }
  | { type: "exit"; process: number; status: number; signal: number }
  | { type: "event"; event: "cpuActivity" | "diskActivity"; value: "ready" | "wait" }
  | { type: "event"; event: "diskLatency" | "processCreated"; value: number }
  | { type: "file"; watch: number; event: { mask: number; cookie: number; name: Uint8Array } }
  | { type: "handout"; file: number; path: Uint8Array; size: number }
  | { type: "stats"; stats: Stats }
  | { type: "notice"; notice: Failure }
  | { type: "crash"; error: Failure };

/** Output that is shown slower than it is made stops its writer: `shown` gives bytes back. */
export type StreamName = { vt: number } | { process: number; fd: 1 | 2 };

export interface OpenOptions {
  /** The root comes first. */
  mounts: Mount[];
  /** Bytes of guest memory. */
  memory: number;
  /** How often code is interpreted before it is compiled. */
  jit?: number | "off";
  /** How compiled code computes on the x87. */
  x87?: "exact" | "fast";
  /** Whether compiled code counts how it finds the bytes of its accesses. */
  countAccesses?: boolean;
  /** Whether a list of hot code is kept, where there is storage for it. */
  hotCode?: boolean;
  columns: number;
  rows: number;
}

/** A disk, a tree on a web server, or files that are handed in (more of them by `data` messages). */
export type Mount =
  | { path: string; disk: Disk }
  | { path: string; url: string }
  | { path: string; device: number; files: { path: string; data: Uint8Array }[] };

export interface Disk {
  /** An image of a store, an ext2 file, one that is cut into pieces, one that comes along, or an empty file system. */
  kind: "cloud" | "bytes" | "github" | "held" | "blank";
  /**
   * `STORE_OR_URL/name[@tag|@b3:HASH]`, the store as an absolute URL (or a directory in Node); the URL of an ext2 file for the
   * kind `bytes`, and what comes before `.meta` for `github`.
   */
  image?: string;
  /** The key that must have signed the tag, `ed25519:` and 64 hex digits; for `cloud`. */
  publicKey?: string;
  /** The token of a private image; for `cloud`. */
  token?: string;
  /** The file, for `held`. */
  content?: Uint8Array;
  /** Names of saved changes that are only read, the lowest first. */
  layers: string[];
  /** The name of the disk's own saved changes; without it they live in memory and are lost. */
  overlay?: string;
  /** What to do when another tab runs on the same saved changes. */
  whenBusy: "copy" | "fail";
}

export interface Program {
  file: string;
  args: string[];
  /** `NAME=value`. */
  env: string[];
  cwd: string;
  uid: number;
  gid: number;
  /** A virtual terminal that becomes its controlling terminal, or streams of its own. */
  stdio: { vt: number } | "streams";
}

/** Why something did not work, for a program and for a person. */
export interface Failure {
  code:
    | "bad-argument"
    | "unsupported"
    | "unreachable"
    | "image-not-found"
    | "image-corrupt"
    | "image-untrusted"
    | "image-denied"
    | "overlay-mismatch"
    | "overlay-busy"
    | "overlay-lost"
    | "overlay-full"
    | "overlay-trouble"
    | "overlay-well"
    | "storage-blocked"
    | "download-failed"
    | "hot-code"
    | "bad-archive"
    | "nothing-saved"
    | "errno"
    | "crashed"
    | "closed";
  message: string;
  /** The name of a Linux error, for `errno`. */
  errno?: string;
  /** The manifest that saved changes belong to, for `overlay-mismatch`. */
  manifest?: string;
}

export interface Stats {
  /** Share of the last interval that the machine was computing, 0 to 1. */
  cpu: number;
  /** Chunks that guest tasks wait for now. */
  diskWaiting: number;
  /** Mean time of the last chunk reads, in ms; 0 before the first. */
  diskLatency: number;
  /** Chunks fetched and verified. */
  chunks: number;
  /** Bytes received over the network. */
  bytesFetched: number;
  /** Bytes of pages in the overlay, written and still unwritten. */
  overlayBytes: number;
  /** Bytes of guest memory in use. */
  memory: number;
  /** Guest tasks alive. */
  tasks: number;
  /** Guest tasks made since the start. */
  created: number;
  /** Guest instructions executed since the start. */
  retired: number;
  /** Whether the server cannot be reached. */
  offline: boolean;
  /** Objects of the image that came and were refused, because they were not what was asked for. */
  damaged: number;
  /** Connections that were lost or given up. */
  losses: number;
}
