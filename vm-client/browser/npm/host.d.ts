/** What the wasm module asks of JavaScript; the Rust side is `vm-client/browser/src/host.rs`. */
export interface Host {
  now(): number;
  wallClock(): number;
  random(buffer: Uint8Array): void;
  kick(): void;
  consoleWrite(vt: number, bytes: Uint8Array): void;
  consoleBacklog(vt: number): number;
  fetch(url: string, reload: boolean, limit: number, range?: string): Request;
  connect(url: string, protocol: string): Wire;
  hasSockets(): boolean;
  fileChanged(watch: number, mask: number, cookie: number, name: Uint8Array): void;
  handout(file: number, path: Uint8Array, size: number): void;
}

export interface Request {
  done(): Promise<{ status: number; body: Uint8Array; header(name: string): string | undefined }>;
  cancel(): void;
}

export interface Wire {
  opened(): Promise<void>;
  send(message: Uint8Array): void;
  take(): Uint8Array | undefined;
  failure(): string | undefined;
  changed(): Promise<void>;
  close(code: number, reason: string): void;
}

/** Six lists: page numbers and pages to put, page numbers to delete, presence row numbers and rows to put, rows to delete. */
export type Change = [Float64Array, Uint8Array[], Float64Array, number[], Uint8Array[], number[]];

/** Written pages, owned by this session until another takes over. */
export interface PageStore {
  epoch(): number;
  stamp(): string;
  rowKeys(): Float64Array;
  rows(): Uint8Array;
  load(keys: Float64Array): Promise<(Uint8Array | undefined)[]>;
  commit(change: Change, epoch: number, strict: boolean): Promise<void>;
  room(): number;
}
