// WebDriver BiDi (w3.org/TR/webdriver-bidi), as much of it as the tests need.

/** A connection to a browser's remote agent. */
export class Bidi {
  #socket;
  #calls = new Map();
  #last = 0;

  static async connect(url) {
    if (typeof WebSocket === "undefined") throw new Error("this Node has no WebSocket: run it with --experimental-websocket");
    const bidi = new Bidi();
    bidi.#socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      bidi.#socket.onopen = resolve;
      bidi.#socket.onerror = () => reject(new Error(`${url} cannot be reached`));
    });
    bidi.#socket.onmessage = ({ data }) => bidi.#hear(JSON.parse(data));
    bidi.#socket.onclose = () => bidi.#end("the browser closed the connection");
    return bidi;
  }

  /** Sends a command and waits for its result. */
  call(method, params = {}) {
    const id = (this.#last += 1);
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, method });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  close() {
    this.#socket.close();
  }

  #hear(message) {
    const call = this.#calls.get(message.id);
    if (!call) return;
    this.#calls.delete(message.id);
    if (message.type === "error") call.reject(new Error(`${call.method}: ${message.error}: ${message.message}`));
    else call.resolve(message.result);
  }

  #end(why) {
    for (const { reject, method } of this.#calls.values()) reject(new Error(`${method}: ${why}`));
    this.#calls.clear();
  }
}
