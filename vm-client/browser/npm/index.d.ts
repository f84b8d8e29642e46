import type { Failure, Request, Report, Stats } from "./protocol.js";

export type { Failure, Stats } from "./protocol.js";

/** What every rejected promise of this package carries. */
export class SkiffError extends Error implements Failure {
  constructor(failure: Failure);
  code: Failure["code"];
  errno?: string;
  manifest?: string;
}

/** A disk that is only read, streamed from a server or a static host. */
export class CloudDevice {
  /**
   * `STORE_URL/name[@tag|@b3:HASH]`; the URL may be relative to the page. `wss:` and `https:` are both understood: the
   * client uses whichever of WebSocket and plain HTTP works.
   */
  static create(url: string): Promise<CloudDevice>;
  readonly image: string;
  delete(): void;
}

/** Room for a disk's changes in this browser's IndexedDB. */
export class IDBDevice {
  static create(name: string): Promise<IDBDevice>;
  readonly name: string;
  /** The manifest that the saved changes belong to, in hex; null when there are none. */
  manifest(): Promise<string | null>;
  /** Forgets every change. Delete the machine that uses them first. */
  reset(): Promise<void>;
  delete(): void;
}

/** A base that is only read, and the changes to it. */
export class OverlayDevice {
  static create(
    base: CloudDevice,
    idb: IDBDevice,
    options?: {
      /** With another tab on the same changes: run on a throw-away copy of the base and send a notice, or fail. */
      whenBusy?: "copy" | "fail";
    },
  ): Promise<OverlayDevice>;
  delete(): void;
}

export interface MountPointConfiguration {
  /** The root is `ext2`; `devs`, `devpts`, `proc` and `sys` may be named and are mounted anyway. */
  type: "ext2" | "devs" | "devpts" | "proc" | "sys";
  path: string;
  dev?: CloudDevice | OverlayDevice;
}

export interface LinuxOptions {
  mounts: MountPointConfiguration[];
  /** Guest memory in bytes, 512 MiB unless told. */
  memory?: number;
  /** How often code is interpreted before it is compiled: 0 compiles everything at once, "off" nothing. */
  jit?: number | "off";
  /** Milliseconds until opening the image counts as failed, 30,000 unless told. */
  timeout?: number;
  /** Size of the first virtual terminal at the start. */
  columns?: number;
  rows?: number;
  /** The worker to use, for bundlers that want to make it themselves: `new Worker(new URL("skiff-vm/worker.js", ...))`. */
  worker?: Worker | MachinePort;
  /** Where the wasm module is, if not beside the worker; or the module. */
  wasm?: string | WebAssembly.Module;
  /** Called with notices that arrive while opening, too. */
  onNotice?: (notice: Failure) => void;
  onStats?: (stats: Stats) => void;
}

/** What is used of a worker. */
export interface MachinePort {
  postMessage(request: Request): void;
  onmessage: ((event: { data: Report }) => void) | null;
  onerror: ((event: { message?: string }) => void) | null;
  terminate?(): void;
}

/** A place for a program's output; without one it is collected into the result. */
export type Sink =
  | "pipe"
  | "ignore"
  | ((data: Uint8Array) => void | Promise<void>)
  | WritableStream<Uint8Array>
  | { write(data: Uint8Array): unknown };

export interface RunOptions {
  /** `NAME=value`; a usual PATH, HOME and TERM unless told. */
  env?: string[];
  cwd?: string;
  uid?: number;
  gid?: number;
  /** The virtual terminal it gets when it has no streams of its own, 1 unless told. */
  vt?: number;
  /** Naming any of the three gives the program streams instead of a terminal. "pipe": fed by `Process.write`. */
  stdin?: string | Uint8Array | AsyncIterable<Uint8Array | string> | "pipe" | null;
  stdout?: Sink;
  stderr?: Sink;
  /** Milliseconds after which it gets SIGTERM, and two seconds later SIGKILL. */
  timeout?: number;
  /** Aborting does the same. */
  signal?: AbortSignal;
}

export interface RunResult {
  /** The exit status; 128 and the signal's number when a signal ended it, as a shell has it. */
  status: number;
  /** The signal that ended it. */
  signal?: number;
  /** Collected output, for programs with streams and no sink. */
  stdout?: Uint8Array;
  stderr?: Uint8Array;
}

/** A program that runs. */
export interface Process {
  readonly pid: number;
  readonly ended: Promise<RunResult>;
  kill(signal?: number | string): void;
  write(data: string | Uint8Array): void;
  closeStdin(): void;
}

export interface Events {
  cpuActivity: "ready" | "wait";
  diskActivity: "ready" | "wait";
  /** Milliseconds the last chunk took. */
  diskLatency: number;
  processCreated: number;
  stats: Stats;
  notice: Failure;
  /** The machine is dead; every promise has been rejected. */
  crash: Failure;
}

/** One machine. */
export class Linux {
  /** Opens the root disk and starts a kernel; rejects with a reason, never hangs. */
  static create(options: LinuxOptions): Promise<Linux>;
  /** The manifest that runs, and whether changes are kept. */
  readonly disk: { manifest: string; persistent: boolean };
  readonly stats?: Stats;
  run(fileName: string, args?: string[], options?: RunOptions): Promise<RunResult>;
  spawn(fileName: string, args?: string[], options?: RunOptions): Promise<Process>;
  setConsole(element: HTMLElement): (keyCode: number | string) => void;
  setCustomConsole(
    write: (data: Uint8Array, vt: number) => void | Promise<void>,
    columns: number,
    rows: number,
    vt?: number,
  ): (keyCode: number | string) => void;
  input(data: string | Uint8Array, vt?: number): void;
  resizeConsole(columns: number, rows: number, vt?: number): void;
  registerCallback<E extends keyof Events>(event: E, callback: (value: Events[E]) => void): void;
  unregisterCallback<E extends keyof Events>(event: E, callback: (value: Events[E]) => void): void;
  /** Waits until everything written so far is safely stored. */
  sync(): Promise<void>;
  /** What the engine counted so far, by name; for finding out where time goes. */
  profile(): Promise<Record<string, number>>;
  delete(): Promise<void>;
}
