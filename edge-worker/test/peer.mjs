// A client of `vmdisk.v1` made by hand, byte by byte as block-proto's README has it: the tests must not share code with
// what they test.

import { once } from "node:events";

import WebSocket from "ws";

export class Peer {
  #waiting = [];
  #inbox = [];
  closed = null;

  /** Connects, without a word. */
  static async connect(url, { protocol = "vmdisk.v1", headers = {} } = {}) {
    const peer = new Peer();
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}v1/ws`, protocol ? [protocol] : [], { headers });
    peer.socket = socket;
    socket.on("message", (data, binary) => peer.#arrived(binary ? parse(data) : { type: "text", text: String(data) }));
    socket.on("close", (code, reason) => peer.#arrived({ type: "closed", code, reason: String(reason) }));
    await new Promise((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
      socket.once("unexpected-response", (_, reply) => reject(Object.assign(new Error(`status ${reply.statusCode}`), { status: reply.statusCode })));
    });
    socket.on("error", () => {});
    return peer;
  }

  /** Connects and says HELLO; resolves with WELCOME in `peer.welcome`. */
  static async open(url, manifest, { window = 8 << 20, token = "", ...options } = {}) {
    const peer = await Peer.connect(url, options);
    peer.hello(manifest, { window, token });
    const welcome = await peer.next();
    if (welcome.type !== "welcome") throw Object.assign(new Error(`no welcome but ${JSON.stringify(welcome)}`), { frame: welcome });
    peer.welcome = welcome;
    return peer;
  }

  hello(manifest, { window = 8 << 20, token = "", low = 1, high = 1 } = {}) {
    const secret = Buffer.from(token);
    const frame = Buffer.alloc(8 + 50 + secret.length);
    frame.writeUInt8(0x01, 0);
    frame.writeUInt16LE(low, 8);
    frame.writeUInt16LE(high, 10);
    frame.writeUInt32LE(window, 12);
    frame.writeUInt32LE(2 << 20, 16);
    frame.writeUInt32LE(3, 20);
    Buffer.from(manifest, "hex").copy(frame, 24);
    frame.writeUInt16LE(secret.length, 56);
    secret.copy(frame, 58);
    this.socket.send(frame);
  }

  get(request, hashes, { priority = 0, fresh = false } = {}) {
    this.socket.send(getFrame(request, hashes, { priority, fresh }));
  }

  credit(bytes) {
    const frame = Buffer.alloc(12);
    frame.writeUInt8(0x04, 0);
    frame.writeUInt32LE(bytes, 8);
    this.socket.send(frame);
  }

  ping(value) {
    const frame = Buffer.alloc(16);
    frame.writeUInt8(0x7e, 0);
    frame.writeBigUInt64LE(BigInt(value), 8);
    this.socket.send(frame);
  }

  #arrived(frame) {
    if (frame.type === "closed") this.closed = frame;
    const waiting = this.#waiting.shift();
    if (waiting) waiting(frame);
    else this.#inbox.push(frame);
  }

  /** The next frame, or the close. */
  next() {
    const frame = this.#inbox.shift();
    if (frame) return Promise.resolve(frame);
    if (this.closed) return Promise.resolve(this.closed);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Asks for objects and collects the answers, by hash; credits what comes. Other frames go to `others`. */
  async fetch(request, hashes, { others = [], ...options } = {}) {
    this.get(request, hashes, options);
    const found = new Map();
    while (found.size < hashes.length) {
      const frame = await this.next();
      if (frame.type === "closed") throw Object.assign(new Error("closed meanwhile"), { frame, found });
      if (frame.request !== request || (frame.type !== "block" && frame.type !== "error")) {
        others.push(frame);
        continue;
      }
      if (frame.type === "block") this.credit(frame.envelope.length);
      if (frame.index === 0xffff) throw Object.assign(new Error(frame.text), { frame, found });
      found.set(hashes[frame.index], frame);
    }
    return found;
  }

  async close() {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    this.socket.close(1000);
    await once(this.socket, "close");
  }
}

export function getFrame(request, hashes, { priority = 0, fresh = false } = {}) {
  const frame = Buffer.alloc(8 + 32 * hashes.length);
  frame.writeUInt8(0x02, 0);
  frame.writeUInt8(priority | (fresh ? 8 : 0), 1);
  frame.writeUInt16LE(hashes.length, 2);
  frame.writeUInt32LE(request, 4);
  hashes.forEach((hash, at) => Buffer.from(hash, "hex").copy(frame, 8 + 32 * at));
  return frame;
}

/** Reads a message of the server. */
export function parse(data) {
  const [kind, flags, index, request] = [data[0], data[1], data.readUInt16LE(2), data.readUInt32LE(4)];
  const body = data.subarray(8);
  switch (kind) {
    case 0x81:
      return {
        type: "welcome",
        version: body.readUInt16LE(0),
        maxBatch: body.readUInt16LE(2),
        maxOpen: body.readUInt16LE(4),
        idle: body.readUInt16LE(6),
        windowMax: body.readUInt32LE(8),
        budget: body.readUInt32LE(12),
        session: body.readBigUInt64LE(16),
      };
    case 0x82:
      return { type: "block", request, index, last: Boolean(flags & 1), tier: (flags >> 1) & 3, envelope: Buffer.from(body) };
    case 0x83:
      return { type: "error", request, index, code: body.readUInt16LE(0), retry: body.readUInt16LE(2), text: String(body.subarray(4)) };
    case 0x84:
      return { type: "goaway", reason: index, after: body.readUInt32LE(0), owed: body.readUInt32LE(4) };
    case 0x7f:
      return { type: "pong", value: body.readBigUInt64LE(0) };
    default:
      return { type: "unknown", kind };
  }
}
