// One program that was started from JavaScript.

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGUSR1: 10, SIGUSR2: 12, SIGTERM: 15, SIGCONT: 18, SIGSTOP: 19 };
/** Between the polite and the other signal when the time is up. */
const GRACE_MS = 2000;

export class Process {
  #send;
  #options;
  #number;
  #collected = { stdout: [], stderr: [] };
  #settle = {};
  #timers = [];
  #over = false;

  constructor(number, options, send) {
    this.#number = number;
    this.#options = options;
    this.#send = send;
    this.pid = 0;
    /** Whether it has streams of its own instead of a terminal. */
    this.streams = ["stdin", "stdout", "stderr"].some((name) => options[name] !== undefined);
    this.ended = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever only starts programs need not listen.
    this.ended.catch(() => {});
  }

  /** Sends a signal: a name or a number, SIGTERM unless told. */
  kill(signal = "SIGTERM") {
    const number = typeof signal === "number" ? signal : SIGNALS[signal];
    if (!number) throw new TypeError(`unknown signal ${signal}`);
    if (!this.#over) this.#send({ type: "kill", process: this.#number, signal: number });
  }

  /** Writes to its standard input. */
  write(data) {
    if (!this.#over) this.#send({ type: "stdin", process: this.#number, data: encodeInput(data) });
  }

  /** Ends its standard input. */
  closeStdin() {
    if (!this.#over) this.#send({ type: "stdin", process: this.#number, data: null });
  }

  /** It runs. */
  begin() {
    const { stdin, timeout, signal } = this.#options;
    if (this.streams) void this.#feed(stdin);
    if (timeout !== undefined) this.#timers.push(setTimeout(() => this.#stop(), timeout));
    if (signal?.aborted) this.#stop();
    else signal?.addEventListener("abort", () => this.#stop(), { once: true });
  }

  async #feed(stdin) {
    if (stdin === "pipe") return;
    if (stdin && typeof stdin !== "string" && !(stdin instanceof Uint8Array)) {
      for await (const piece of stdin) this.write(piece);
    } else if (stdin?.length) {
      this.write(stdin);
    }
    this.closeStdin();
  }

  #stop() {
    this.kill("SIGTERM");
    this.#timers.push(setTimeout(() => this.kill("SIGKILL"), GRACE_MS));
  }

  output(name, data) {
    const sink = this.#options[name];
    const fd = name === "stdout" ? 1 : 2;
    const shown = () => this.#send({ type: "shown", stream: { process: this.#number, fd }, bytes: data.length });
    let done;
    if (typeof sink === "function") done = sink(data);
    else if (sink && typeof sink.write === "function") done = sink.write(data);
    else if (sink && typeof sink.getWriter === "function") done = writeTo(sink, data);
    else if (sink !== "ignore") this.#collected[name].push(data);
    Promise.resolve(done).then(shown, shown);
  }

  end({ status, signal }) {
    this.#finish();
    const result = { status };
    if (signal) result.signal = signal;
    if (this.streams) {
      for (const name of ["stdout", "stderr"]) {
        const sink = this.#options[name];
        if (sink === undefined || sink === "pipe") result[name] = joined(this.#collected[name]);
      }
    }
    this.#settle.resolve(result);
  }

  fail(error) {
    this.#finish();
    this.#settle.reject(error);
  }

  #finish() {
    this.#over = true;
    this.#timers.forEach(clearTimeout);
  }
}

/** Text as UTF-8; bytes as they are, copied. */
export function encodeInput(data) {
  return typeof data === "string" ? new TextEncoder().encode(data) : Uint8Array.from(data);
}

async function writeTo(stream, data) {
  const writer = stream.getWriter();
  try {
    await writer.write(data);
  } finally {
    writer.releaseLock();
  }
}

function joined(pieces) {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
