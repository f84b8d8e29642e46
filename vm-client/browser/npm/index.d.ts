import type { Failure, Request, Report, Stats } from "./protocol.js";

export type { Failure, Stats } from "./protocol.js";

/** What every rejected promise of this package carries. */
export class SkiffError extends Error implements Failure {
  constructor(failure: Failure);
  code: Failure["code"];
  errno?: string;
  manifest?: string;
}

/** What can be mounted. */
export class Device {
  delete(): void;
}

/** What holds an ext2 file system. */
export class BlockDevice extends Device {
  private readonly block: true;
}

/** A disk that is only read, streamed from a server or a static host. */
export class CloudDevice extends BlockDevice {
  /**
   * `STORE_URL/name[@tag|@b3:HASH]`; the URL may be relative to the page. `wss:` and `https:` are both understood: the
   * client uses whichever of WebSocket and plain HTTP works.
   */
  static create(
    url: string,
    options?: {
      /** The publisher's key (`ed25519:` and 64 hex digits): a tag that it did not sign is refused. */
      publicKey?: string;
      /** Permission to read a private image, as its issuer wrote it. Sent to this store alone. See `Linux.setToken`. */
      token?: string;
    },
  ): Promise<CloudDevice>;
  readonly kind: "cloud";
  readonly image: string;
}

/** An ext2 file that is only read, on any web server that serves byte ranges. Other origins must expose `Content-Range`. */
export class HttpBytesDevice extends BlockDevice {
  static create(url: string): Promise<HttpBytesDevice>;
  readonly kind: "bytes";
  readonly image: string;
}

/**
 * An ext2 file that is only read, cut into pieces for a static host: `URL.meta` with its size, and `URL.cNNNNNN.txt`
 * (hexadecimal) for each 128 KiB. `image-tools export --layout github` makes them.
 */
export class GitHubDevice extends BlockDevice {
  static create(url: string): Promise<GitHubDevice>;
  readonly kind: "github";
  readonly image: string;
}

/**
 * An ext2 file in another device: on a web server, among the files that the page hands in, or in this browser's storage. The
 * latter two are read into memory when a machine starts.
 */
export class FileDevice extends BlockDevice {
  /** For a file of a `WebDevice` this is an `HttpBytesDevice`. */
  static create(parent: WebDevice | DataDevice | IDBDevice, fileName: string): Promise<FileDevice | HttpBytesDevice>;
}

/**
 * A tree of plain files on a web server, for a mount of type `dir`; read-only. A directory has a file `index.list` with the
 * names in it, one a line. The URL may be relative to the page.
 */
export class WebDevice extends Device {
  static create(url: string): Promise<WebDevice>;
  readonly url: string;
}

/** Files that the page hands in, for a mount of type `dir`; the guest can read them, and not run them. */
export class DataDevice extends Device {
  static create(): Promise<DataDevice>;
  /** Puts a file at a path such as `/name`, in place of one that is there; resolves when running machines have it. */
  writeFile(path: string, contents: string | Uint8Array): Promise<void>;
}

/** Room in this browser's IndexedDB: for a disk's changes, or for files where it is mounted as a `dir`. */
export class IDBDevice extends Device {
  static create(name: string): Promise<IDBDevice>;
  readonly name: string;
  /**
   * A file of a device that is mounted as a `dir`, by its path in the device; null when it is not there. Without a machine that
   * has it mounted, one is started for as long as it takes.
   */
  readFileAsBlob(path: string): Promise<Blob | null>;
  /** The manifest that the saved changes belong to, in hex; null when there are none. */
  manifest(): Promise<string | null>;
  /** The names of all disks that this origin keeps changes of; empty where the browser does not tell. */
  static list(): Promise<string[]>;
  /** Forgets every change. Delete the machine that uses them first. */
  reset(): Promise<void>;
  /** Every stored change as one file, as of one moment. A machine that runs should `sync()` before. */
  export(): Promise<Blob>;
  /**
   * Puts an exported file in the place of the changes there are. Delete the machine that uses them first. The file is
   * checked first: one that is damaged is refused with `bad-archive` and changes nothing.
   */
  import(file: Blob): Promise<{ manifest: string; pages: number }>;
}

/**
 * A base that is only read, and the changes to it. A base that is an overlay itself stays as it is, so that several disks can
 * lie on one: each has only its own differences. The changes of an upper disk belong to one state of the lower one, and are refused
 * with `overlay-mismatch` once the lower one is changed.
 */
export class OverlayDevice extends BlockDevice {
  static create(
    base: BlockDevice,
    idb: IDBDevice,
    options?: {
      /** With another tab on the same changes: run on a throw-away copy of the base and send a notice, or fail. */
      whenBusy?: "copy" | "fail";
    },
  ): Promise<OverlayDevice>;
}

export type MountPointConfiguration =
  | {
      /** A disk; the root comes first. A mount point that is not there is made. */
      type: "ext2";
      path: string;
      dev: BlockDevice;
    }
  | {
      /**
       * A directory: of a web server or of the page, which are only read, or of this browser, which everybody in the guest may
       * write. A mount point that is not there is made.
       */
      type: "dir";
      path: string;
      dev: WebDevice | DataDevice | IDBDevice;
    }
  | {
      /** May be named, and are mounted anyway. */
      type: "devs" | "devpts" | "proc" | "sys";
      path: string;
      dev?: undefined;
    };

/** CheerpX's way to the Tailscale network. It may be given and is not used: the machine has no network outside itself. */
export interface NetworkInterface {
  authKey?: string;
  controlUrl?: string;
  loginUrlCb?: (url: string) => void;
  stateUpdateCb?: (state: number) => void;
  netmapUpdateCb?: (map: unknown) => void;
}

export interface LinuxOptions {
  /** Without any, the files of the page's own server are the root, as a `WebDevice`. */
  mounts?: MountPointConfiguration[];
  networkInterface?: NetworkInterface;
  /** Guest memory in bytes, 512 MiB unless told. */
  memory?: number;
  /** How often code is interpreted before it is compiled: 0 compiles everything at once, "off" nothing. */
  jit?: number | "off";
  /**
   * How compiled code computes on the x87: "exact" (the default) with 80 bits like the processor, "fast" in double precision.
   * Then `long double` has the precision of `double` (64-bit integers that are only moved keep their bits), and no exceptions
   * are noted in the status word. Code that is interpreted is exact all the same, so last bits may differ between runs.
   */
  x87?: "exact" | "fast";
  /**
   * Whether compiled code counts how it finds the bytes of its accesses (false unless told): `profile()` then has how often it
   * compared with its window of the stack and looked into the table of pages, how often that failed, and at which addresses.
   * It runs slower meanwhile.
   */
  countAccesses?: boolean;
  /**
   * Whether the browser keeps a list of the code that was compiled on the image, so that the next machine compiles it early
   * (true unless told). A list of another image, or a damaged one, is not used and a notice `hot-code` says so.
   */
  hotCode?: boolean;
  /** Milliseconds until opening the image counts as failed, 30,000 unless told. */
  timeout?: number;
  /** Milliseconds after which a machine that does not answer is told of by the notice `no-answer`, 20,000 unless told. */
  answerWithin?: number;
  /** Size of the first virtual terminal at the start. */
  columns?: number;
  rows?: number;
  /**
   * `TZ` of every program whose environment has none: a name such as "Europe/Berlin", or "host" for that of this computer.
   * Where the image has no time zone data, its present distance from UTC is used.
   */
  timeZone?: string;
  /** `LANG` of every program whose environment has neither it nor `LC_ALL`, such as "C.UTF-8". */
  locale?: string;
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
  /** Without a callback the browser saves the file as it saves downloads. */
  download: Download;
  notice: Failure;
  /**
   * The browser's answer when it was asked, at the first change, to keep the disk when room gets scarce. "unavailable": it
   * cannot be asked here, as over plain HTTP.
   */
  persistence: "granted" | "denied" | "unavailable";
  /** The machine is dead; every promise has been rejected. */
  crash: Failure;
}

/** A path: UTF-8 text, or bytes for a name that is not. */
export type GuestPath = string | Uint8Array;
export type GuestFileType = "file" | "directory" | "symlink" | "character-device" | "block-device" | "fifo" | "socket";

export interface GuestStat {
  type: GuestFileType;
  /** Bytes. */
  size: number;
  /** `st_mode`, type bits included. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  ino: number;
  dev: number;
  rdev: number;
  /** In units of 512 bytes. */
  blocks: number;
  /** Milliseconds since the Unix epoch. */
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
}

export interface GuestDirent {
  /** The name as text; where it is not UTF-8, only `rawName` opens the file. */
  name: string;
  rawName: Uint8Array;
  type: GuestFileType;
  ino: number;
}

export interface GuestFileEvent {
  /** As inotify(7) calls them. "ignored": the watched file is gone, nothing more follows. */
  type:
    | "modify"
    | "attrib"
    | "close_write"
    | "moved_from"
    | "moved_to"
    | "create"
    | "delete"
    | "delete_self"
    | "move_self"
    | "ignored";
  /** The entry of a watched directory; null when it is the watched file itself. */
  name: string | null;
  directory: boolean;
  /** The same number in the two halves of a rename. */
  cookie?: number;
}

/** What can be written: a `Blob` and a stream go in pieces. */
export type GuestData =
  | string
  | Uint8Array
  | ArrayBuffer
  | Blob
  | ReadableStream<Uint8Array>
  | Iterable<string | Uint8Array>
  | AsyncIterable<string | Uint8Array>;

/**
 * The guest's files, on any mount, while programs run. Calls act as root from `/`. They reject with a `SkiffError` with
 * `code: "errno"` and the name of Linux's error in `errno`, such as `ENOENT`.
 */
export interface FileSystem {
  readFile(path: GuestPath, options?: { encoding?: null }): Promise<Uint8Array>;
  readFile(path: GuestPath, options: "utf8" | { encoding: "utf8" }): Promise<string>;
  /** The file a piece at a time, each of at most 1 MiB. */
  readStream(path: GuestPath): AsyncGenerator<Uint8Array, void, void>;
  writeFile(
    path: GuestPath,
    data: GuestData,
    options?: {
      /** "w" (default) empties the file first, "a" appends, with "x" it must not exist yet. */
      flag?: "w" | "wx" | "a" | "ax";
      /** Permissions of a new file before the umask 022; 0o644 unless told. */
      mode?: number;
      /** Who gets the file; root unless told. */
      uid?: number;
      gid?: number;
    },
  ): Promise<void>;
  /** Names in order; `.` and `..` are left out. */
  readdir(path: GuestPath, options?: { withFileTypes?: false }): Promise<string[]>;
  readdir(path: GuestPath, options: { withFileTypes: true }): Promise<GuestDirent[]>;
  stat(path: GuestPath): Promise<GuestStat>;
  /** Of a symbolic link itself. */
  lstat(path: GuestPath): Promise<GuestStat>;
  /** With `recursive` also the directories above; one that exists is no error then. */
  mkdir(path: GuestPath, options?: { recursive?: boolean; mode?: number }): Promise<void>;
  /** A file or an empty directory; with `recursive` everything below. With `force` what is not there is no error. */
  rm(path: GuestPath, options?: { recursive?: boolean; force?: boolean }): Promise<void>;
  rename(from: GuestPath, to: GuestPath): Promise<void>;
  /** Tells what happens to a file or to the entries of a directory (not of those below). */
  watch(path: GuestPath, listener: (event: GuestFileEvent) => void): Promise<{ close(): void }>;
}

/** What there is to say when a program does not work. */
export interface Diagnostics {
  /** System calls, ioctls, options and instructions that do not exist here, with the program that asked for them. */
  missing: { what: string; name: string; program: string; count: number }[];
  /** Every task: its state in a word, the system call it is in ("" if none), and what it waits for. */
  tasks: { tid: number; pid: number; ppid: number; name: string; state: string; call: string; waitsFor: string }[];
  /** The same as lines to read. */
  text: string;
}

/** A place in guest code, and the time it had. */
export interface TimePlace {
  /** The path of the file, or what memory it is: `generated code`, `[vdso]`. */
  object: string;
  /** The function (with the distance from its start, where the place is an address), "" where the file names none. */
  symbol: string;
  /** Offset in the file, or the address in memory without a file. */
  offset: number;
  ms: number;
}

/** Where guest time went since `startProfile`. Times are of samples, one in about 60,000 instructions; each list has the most first. */
export interface TimeProfile {
  /** Time in guest code; of that in the interpreter, and in the compiler. The rest is compiled code. */
  guestMs: number;
  interpreterMs: number;
  compileMs: number;
  /** Instructions executed, and those of them that were interpreted. */
  instructions: number;
  interpreted: number;
  samples: number;
  /** Why guest code stopped, and how often: system call, fault, exception, time stamp, end of fuel (the end of its slice). */
  exits: Record<string, number>;
  /** System calls by name. */
  calls: Record<string, number>;
  /** Why compiled code was left, and how often. */
  left: Record<string, number>;
  functions: TimePlace[];
  /** Compiled code by where it begins. */
  regions: TimePlace[];
  addresses: TimePlace[];
  /** The same as lines to read. */
  text: string;
}

/** A file that a guest program gave to the page with `download`. Read it once, by `stream` or `blob`. */
export interface Download {
  /** Its name without directories. */
  name: string;
  /** Bytes when it was handed over. */
  size: number;
  stream: AsyncGenerator<Uint8Array, void, void>;
  blob(): Promise<Blob>;
}

/** One machine. */
export class Linux {
  /** Opens the root disk and starts a kernel; rejects with a reason, never hangs. */
  static create(options?: LinuxOptions): Promise<Linux>;
  /**
   * The root: the manifest that runs (null for a `dir`), what its changes are bound to (another hash where it lies on other changes),
   * and whether they are kept.
   */
  readonly disk: { manifest: string | null; identity?: string; persistent: boolean; persistence?: Events["persistence"] };
  readonly stats?: Stats;
  readonly fs: FileSystem;
  run(fileName: string, args?: string[], options?: RunOptions): Promise<RunResult>;
  spawn(fileName: string, args?: string[], options?: RunOptions): Promise<Process>;
  setConsole(element: HTMLElement): (keyCode: number | string) => void;
  setCustomConsole(
    write: (data: Uint8Array, vt: number) => void | Promise<void>,
    columns: number,
    rows: number,
    vt?: number,
  ): (keyCode: number | string) => void;
  /**
   * Has `callback` told which virtual terminal comes to the front; the function returned brings one there. Programs do not do so by
   * themselves, for there is no graphical terminal.
   */
  setActivateConsole(callback: (vt: number) => void): (vt: number) => void;
  /** There are no graphics: the canvas stays as it is, and a `notice` says so. */
  setKmsCanvas(canvas: HTMLCanvasElement, width: number, height: number): void;
  /** Rejects with `unsupported`: there is no network outside the machine. */
  networkLogin(): Promise<never>;
  input(data: string | Uint8Array, vt?: number): void;
  resizeConsole(columns: number, rows: number, vt?: number): void;
  registerCallback<E extends keyof Events>(event: E, callback: (value: Events[E]) => void): void;
  unregisterCallback<E extends keyof Events>(event: E, callback: (value: Events[E]) => void): void;
  /** Where the program is that has the foreground of a virtual terminal, 1 unless told. */
  workingDirectory(vt?: number): Promise<{ path: string; uid: number; gid: number; pid: number }>;
  /** Writes files to that directory, as that user, under free names; returns the paths. */
  upload(files: Iterable<File>, vt?: number): Promise<string[]>;
  /**
   * Shows the store of a private image another token. Reads wait while the old one is no longer accepted, so a tab may live
   * longer than its first token. `path` is where the image is mounted, `/` unless told.
   */
  setToken(token: string, path?: string): Promise<void>;
  /** Waits until everything written so far is safely stored. */
  sync(): Promise<void>;
  /**
   * Every change to the disk as one file, for `IDBDevice.import`; also what could not be stored because the browser's storage
   * fails, and what is kept in memory only. Rejects with `overlay-lost` when the stored part is no longer this machine's.
   */
  exportDisk(): Promise<Blob>;
  /** What the engine counted so far, by name; for finding out where time goes. */
  profile(): Promise<Record<string, number>>;
  /** Begins to measure where guest time goes, from nothing. Costs a few percent until the machine ends. */
  startProfile(): Promise<void>;
  /** Where guest time went since `startProfile`: by function, by address, by compiled code, and why code stopped. */
  timeProfile(): Promise<TimeProfile>;
  /** What programs asked for that does not exist here, and what each task waits for: for finding out why one hangs. */
  diagnostics(): Promise<Diagnostics>;
  delete(): Promise<void>;
}
