// A proxy that does to a block-server's answers whatever a network can do, at random and repeatably.
//
// Single messages and answers are delayed, dropped, cut short, damaged, sent twice, sent in another order; connections are
// stalled and cut. `outage` takes the whole network away, in one of three ways: connections are refused and reset, everything is held
// back and comes later, or everything is swallowed and connections of that time stay silent for ever.

import { once } from "node:events";
import { createServer, request } from "node:http";
import { connect } from "node:net";

import { FrameReader, emitFrame, isMessage } from "./frames.mjs";
import { Random } from "./random.mjs";

/** Shares of messages, and of HTTP answers, that meet with each fault. */
export const ROUGH = {
  corrupt: 0.2,
  truncate: 0.02,
  drop: 0.01,
  duplicate: 0.02,
  reorder: 0.03,
  delay: 0.05,
  stall: 0.002,
  cut: 0.004,
};
export const OUTAGES = ["refuse", "hold", "swallow"];

/** Below this, a message is about the session and no object. */
const OBJECT = 2048;
const DELAY_MS = 250;
const STALL_MS = [800, 5000];
/** What is damaged; the page and its code come as they are. */
const OURS = /\/(o|t)\//;

export class FaultProxy {
  #port;
  #rates;
  #sockets = new Set();
  #held = null;
  #mode = null;
  /** Faults done so far, by name; `objects` of the corrupt ones carried an object. */
  counts = { corrupt: 0, objects: 0, truncate: 0, drop: 0, duplicate: 0, reorder: 0, delay: 0, stall: 0, cut: 0, outages: 0 };
  /** While set, messages pass as they are. */
  calm = false;

  static async start(port, { seed, rates = ROUGH, host = "127.0.0.1" }) {
    const proxy = new FaultProxy();
    proxy.#port = port;
    proxy.#rates = rates;
    proxy.random = new Random(seed);
    proxy.server = createServer((incoming, reply) => void proxy.#answer(incoming, reply));
    proxy.server.on("upgrade", (incoming, socket, head) => void proxy.#upgrade(incoming, socket, head));
    proxy.server.on("connection", (socket) => proxy.#accept(socket));
    proxy.server.keepAliveTimeout = 60_000;
    proxy.server.listen(0, host);
    await once(proxy.server, "listening");
    proxy.url = `http://${host}:${proxy.server.address().port}/`;
    return proxy;
  }

  /** Takes the network away; `restore` gives it back. */
  outage(mode) {
    this.counts.outages += 1;
    this.#mode = mode;
    if (mode === "hold") this.#held = Promise.withResolvers?.() ?? withResolvers();
    for (const socket of this.#sockets) {
      if (mode === "refuse") socket.destroy();
      else if (mode === "swallow") socket.dead = true;
    }
  }

  restore() {
    this.#mode = null;
    this.#held?.resolve();
    this.#held = null;
  }

  stop() {
    this.restore();
    for (const socket of this.#sockets) socket.destroy();
    this.server.closeAllConnections();
    this.server.close();
  }

  #accept(socket) {
    if (this.#mode === "refuse") return socket.destroy();
    socket.dead = this.#mode === "swallow";
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket)).on("error", () => {});
  }

  /** The fault that the next message meets with, if any. */
  #fault() {
    let left = this.random.next();
    if (this.calm) return null;
    for (const [name, share] of Object.entries(this.#rates)) {
      left -= share;
      if (left < 0) return name;
    }
    return null;
  }

  #count(fault, size) {
    this.counts[fault] += 1;
    if (fault === "corrupt" && size >= OBJECT) this.counts.objects += 1;
  }

  #damaged(body) {
    const bytes = Buffer.from(body);
    for (let flips = this.random.whole(1, 5); flips > 0 && bytes.length; flips -= 1) {
      bytes[this.random.whole(0, bytes.length)] ^= 1 << this.random.whole(0, 8);
    }
    // Two flips of one bit would be none.
    if (bytes.length && bytes.equals(body)) bytes[0] ^= 1;
    return bytes;
  }

  // HTTP.

  async #answer(incoming, reply) {
    const { socket } = incoming;
    await this.#held?.promise;
    if (socket.dead) return;
    const headers = { ...incoming.headers, host: `127.0.0.1:${this.#port}` };
    const onward = request({ port: this.#port, host: "127.0.0.1", method: incoming.method, path: incoming.url, headers }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => void this.#reply(incoming, answer, Buffer.concat(pieces), reply).catch(() => reply.destroy()));
    });
    onward.on("error", () => reply.destroy());
    incoming.pipe(onward);
  }

  async #reply(incoming, answer, body, reply) {
    const { socket } = incoming;
    const fault = OURS.test(incoming.url) && answer.statusCode === 200 ? this.#fault() : null;
    let cut = false;
    let sent = body;
    if (fault) {
      this.#count(fault, body.length);
      if (fault === "drop" || fault === "cut") return socket.destroy();
      if (fault === "delay" || fault === "reorder") await sleep(this.random.whole(0, DELAY_MS));
      if (fault === "stall") await sleep(this.random.whole(...STALL_MS));
      if (fault === "corrupt") sent = this.#damaged(body);
      if (fault === "truncate") {
        sent = body.subarray(0, this.random.whole(0, body.length));
        // Half of them break off; of the others nobody can tell that something is missing.
        cut = this.random.chance(0.5);
      }
    }
    await this.#held?.promise;
    if (socket.dead || socket.destroyed) return;
    const headers = { ...answer.headers };
    delete headers["transfer-encoding"];
    delete headers.connection;
    reply.writeHead(answer.statusCode, { ...headers, "content-length": cut ? body.length : sent.length });
    if (!cut) return void reply.end(sent);
    reply.write(sent, () => socket.destroy());
  }

  // WebSocket.

  async #upgrade(incoming, client, head) {
    await this.#held?.promise;
    if (client.dead || client.destroyed) return;
    const upstream = connect(this.#port, "127.0.0.1");
    const end = () => (client.destroy(), upstream.destroy());
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    const lines = [`${incoming.method} ${incoming.url} HTTP/1.1`];
    for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
      const [name, value] = incoming.rawHeaders.slice(at, at + 2);
      // Without extensions a message is a frame as it stands.
      if (!/^sec-websocket-extensions$/i.test(name)) lines.push(`${name}: ${value}`);
    }
    upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
    if (head.length) upstream.write(head);
    const down = new Direction(this, client, upstream, client, false);
    const up = new Direction(this, client, client, upstream, true);
    let answered = Buffer.alloc(0);
    const greeting = (data) => {
      answered = Buffer.concat([answered, data]);
      const length = answered.indexOf("\r\n\r\n") + 4;
      if (length < 4) return;
      upstream.off("data", greeting);
      client.write(answered.subarray(0, length));
      down.begin(answered.subarray(length));
      up.begin(Buffer.alloc(0));
    };
    upstream.on("data", greeting);
  }

  /** For `Direction`: what is to be sent instead of a message, and what is to be waited for before. */
  treat(frame, direction) {
    const fault = isMessage(frame) ? this.#fault() : null;
    if (!fault) return { frames: [frame] };
    this.#count(fault, frame.payload.length);
    switch (fault) {
      case "corrupt":
        return { frames: [{ ...frame, payload: this.#damaged(frame.payload) }] };
      case "truncate":
        return { frames: [{ ...frame, payload: frame.payload.subarray(0, this.random.whole(0, frame.payload.length)) }] };
      case "drop":
        return { frames: [] };
      case "duplicate":
        return { frames: [frame, frame] };
      case "reorder":
        direction.later = frame;
        return { frames: [] };
      case "delay":
        return { frames: [frame], wait: this.random.whole(0, DELAY_MS) };
      case "stall":
        return { frames: [frame], wait: this.random.whole(...STALL_MS) };
      default:
        return { frames: [], cut: true };
    }
  }

  held() {
    return this.#held?.promise;
  }
}

/** One direction of a WebSocket: frames in, frames out, one after the other. */
class Direction {
  #proxy;
  #client;
  #from;
  #to;
  #masked;
  #reader = new FrameReader();
  #queue = Promise.resolve();
  /** A message that waits for another to pass. */
  later = null;

  constructor(proxy, client, from, to, masked) {
    [this.#proxy, this.#client, this.#from, this.#to, this.#masked] = [proxy, client, from, to, masked];
  }

  begin(first) {
    const take = (data) => {
      for (const frame of this.#reader.push(data)) this.#queue = this.#queue.then(() => this.#pass(frame)).catch(() => {});
    };
    if (first.length) take(first);
    this.#from.on("data", take);
  }

  async #pass(frame) {
    const { frames, wait, cut } = this.#proxy.treat(frame, this);
    if (cut) return void this.#client.destroy();
    if (wait) await sleep(wait);
    await this.#proxy.held();
    if (this.#client.dead || this.#to.destroyed) return;
    const waiting = frames.length && this.later && this.later !== frame ? [this.later] : [];
    if (waiting.length) this.later = null;
    for (const one of [...frames, ...waiting]) this.#to.write(emitFrame(one, this.#masked));
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function withResolvers() {
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
}
