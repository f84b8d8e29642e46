// Networks that fail on request.

import { once } from "node:events";
import { createServer as createHttpServer, request } from "node:http";
import { connect, createServer } from "node:net";

/** Passes TCP on to a port, until told not to. */
export class TcpProxy {
  #pairs = new Set();
  dropped = 0;
  /** WebSockets are cut once this many bytes have come through them; null: never. */
  cutAfter = null;
  refusing = false;

  static async start(port) {
    const proxy = new TcpProxy();
    proxy.server = createServer((client) => proxy.#join(client, port)).listen(0, "127.0.0.1");
    await once(proxy.server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}/`;
    return proxy;
  }

  #join(client, port) {
    if (this.refusing) return client.destroy();
    const upstream = connect(port, "127.0.0.1");
    const pair = { client, upstream };
    this.#pairs.add(pair);
    let through = 0;
    const end = () => {
      client.destroy();
      upstream.destroy();
      this.#pairs.delete(pair);
    };
    for (const socket of [client, upstream]) socket.on("error", end).on("close", end);
    let webSocket = false;
    client.on("data", (data) => {
      webSocket ||= /^upgrade: websocket/im.test(data.toString("latin1"));
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      through += data.length;
      client.write(data);
      if (webSocket && this.cutAfter !== null && through > this.cutAfter) {
        this.dropped += 1;
        end();
      }
    });
  }

  /** Cuts every connection. */
  dropAll() {
    for (const { client, upstream } of this.#pairs) {
      this.dropped += 1;
      client.destroy();
      upstream.destroy();
    }
    this.#pairs.clear();
  }

  stop() {
    this.refusing = true;
    this.dropAll();
    this.server.close();
  }
}

/** Passes HTTP on without WebSockets, and damages the bodies that `damage(path)` chooses. */
export class HttpProxy {
  damage = () => false;

  static async start(port) {
    const proxy = new HttpProxy();
    proxy.server = createHttpServer((incoming, reply) => proxy.#pass(incoming, reply, port)).listen(0, "127.0.0.1");
    proxy.server.on("upgrade", (_, socket) => socket.end("HTTP/1.1 426 Upgrade Refused\r\nconnection: close\r\n\r\n"));
    await once(proxy.server, "listening");
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}/`;
    return proxy;
  }

  #pass(incoming, reply, port) {
    const { method, url: path } = incoming;
    const headers = { ...incoming.headers, host: `127.0.0.1:${port}` };
    const onward = request({ port, host: "127.0.0.1", method, path, headers }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => {
        const body = Buffer.concat(pieces);
        if (answer.statusCode === 200 && body.length > 64 && this.damage(path)) body[body.length >> 1] ^= 0x20;
        reply.writeHead(answer.statusCode, answer.headers);
        reply.end(body);
      });
    });
    onward.on("error", () => reply.destroy());
    incoming.pipe(onward);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
