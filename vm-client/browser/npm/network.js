// `fetch` and `WebSocket`, in the shape that the wasm module asks for.

/** Counts what came over the network. */
export class Meter {
  bytes = 0;
  requests = 0;
}

/**
 * A GET without credentials, of a part if there is a `range` (`bytes=0-9`). `read` may be replaced where there is no server
 * (Node, a directory).
 */
export function startGet(meter, url, reload, limit, range, read = readWithFetch) {
  const abort = new AbortController();
  let over = false;
  meter.requests += 1;
  const answer = read(url, reload, limit, abort.signal, range).then((reply) => {
    meter.bytes += reply.body.length;
    return reply;
  });
  const done = answer.finally(() => (over = true));
  // Whoever dropped the request does not want to hear of it either.
  done.catch(() => {});
  return { done: () => done, cancel: () => over || abort.abort() };
}

export async function readWithFetch(url, reload, limit, signal, range) {
  const headers = range ? { Range: range } : {};
  const options = { cache: reload ? "reload" : "default", credentials: "omit", signal };
  const asked = fetch(url, { ...options, headers });
  const response = await (range ? asked.catch((error) => compressedAnswer(url, options, error)) : asked);
  const header = (name) => response.headers.get(name) ?? undefined;
  const { status } = response;
  if (range && status !== 206) {
    // Without ranges this is the whole file, which may be gigabytes.
    await response.body?.cancel();
    return { status, body: new Uint8Array(), header };
  }
  const announced = Number(header("content-length") ?? 0);
  if (announced > limit) throw new Error(`the answer has ${announced} bytes, more than ${limit}`);
  const body = new Uint8Array(await response.arrayBuffer());
  if (body.length > limit) throw new Error(`the answer has ${body.length} bytes, more than ${limit}`);
  return { status, body, header };
}

/** A part that comes compressed although nobody asked for it looks to a page like a lost network: Chromium drops the answer. */
async function compressedAnswer(url, options, error) {
  const whole = await fetch(url, { ...options, method: "HEAD" });
  if (!whole.headers.has("content-encoding")) throw error;
  return whole;
}

export class SocketWire {
  #socket;
  #meter;
  #opened;
  #messages = [];
  #failure;
  #changed = null;

  constructor(meter, url, protocol) {
    this.#meter = meter;
    this.#opened = new Promise((resolve, reject) => {
      try {
        this.#socket = new WebSocket(url, protocol);
      } catch (error) {
        this.#fail(error.message);
        return reject(error);
      }
      const socket = this.#socket;
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        if (socket.protocol === protocol) return resolve();
        this.#fail(`the server does not speak ${protocol}`);
        socket.close();
        reject(new Error(this.#failure));
      };
      socket.onmessage = ({ data }) => {
        if (!(data instanceof ArrayBuffer)) return this.close(1003, "binary messages only");
        this.#meter.bytes += data.byteLength;
        this.#messages.push(new Uint8Array(data));
        this.#wake();
      };
      socket.onclose = ({ code, reason }) => {
        this.#fail(`the connection closed (${code}${reason ? `: ${reason}` : ""})`);
        reject(new Error(this.#failure));
      };
    });
    this.#opened.catch(() => {});
    this.#meter.requests += 1;
  }

  opened() {
    return this.#opened;
  }

  send(message) {
    if (this.#failure) throw new Error(this.#failure);
    // A copy: the bytes belong to the wasm memory.
    this.#socket.send(message.slice());
  }

  take() {
    return this.#messages.shift();
  }

  failure() {
    return this.#messages.length ? undefined : this.#failure;
  }

  changed() {
    if (this.#messages.length || this.#failure) return Promise.resolve();
    this.#changed ??= Promise.withResolvers?.() ?? withResolvers();
    return this.#changed.promise;
  }

  close(code, reason) {
    this.#fail(`closed here (${code}${reason ? `: ${reason}` : ""})`);
    // Browsers let a page send 1000 and 3000 to 4999 only.
    const ours = code === 1000 || (code >= 3000 && code <= 4999);
    this.#socket?.close(ours ? code : 1000, ours ? reason : "");
  }

  #fail(why) {
    this.#failure ??= why;
    this.#wake();
  }

  #wake() {
    this.#changed?.resolve();
    this.#changed = null;
  }
}

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
