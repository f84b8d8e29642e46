// A console that is just text: enough to see a program's output without a terminal library.

const KEYS = {
  Enter: "\r",
  Backspace: "\x7f",
  Tab: "\t",
  Escape: "\x1b",
  ArrowUp: "\x1b[A",
  ArrowDown: "\x1b[B",
  ArrowRight: "\x1b[C",
  ArrowLeft: "\x1b[D",
  Home: "\x1b[H",
  End: "\x1b[F",
  Delete: "\x1b[3~",
};
/** What a `<pre>` keeps. */
const MOST = 200_000;

export class TextConsole {
  columns = 80;
  rows = 24;
  onInput = () => {};
  #element;
  #decoder = new TextDecoder();
  #text = "";
  /** Where the next character goes in the last line, after `\r` or `\b`. */
  #column = 0;

  constructor(element) {
    this.#element = element;
    if (element.tabIndex < 0) element.tabIndex = 0;
    element.style.whiteSpace ||= "pre-wrap";
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("paste", (event) => {
      event.preventDefault();
      this.onInput(event.clipboardData.getData("text").replaceAll("\n", "\r"));
    });
  }

  write(data) {
    // Colours and cursor movement mean nothing here.
    const text = this.#decoder.decode(data, { stream: true }).replace(/\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()].|.)/g, "");
    for (const character of text) this.#put(character);
    if (this.#text.length > MOST) this.#text = this.#text.slice(-MOST / 2);
    this.#element.textContent = this.#text;
    this.#element.scrollTop = this.#element.scrollHeight;
  }

  #put(character) {
    const line = this.#text.lastIndexOf("\n") + 1;
    if (character === "\r") this.#column = 0;
    else if (character === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (character === "\n") {
      this.#text += "\n";
      this.#column = 0;
    } else if (character >= " " || character === "\t") {
      const at = line + this.#column;
      this.#text = this.#text.slice(0, at) + character + this.#text.slice(at + 1);
      this.#column += 1;
    }
  }

  #key(event) {
    let text = KEYS[event.key];
    if (!text && event.key.length === 1 && !event.metaKey) {
      if (event.ctrlKey && /[a-z@[\\\]^_]/i.test(event.key)) text = String.fromCharCode(event.key.toUpperCase().charCodeAt(0) & 31);
      else if (!event.ctrlKey) text = (event.altKey ? "\x1b" : "") + event.key;
    }
    if (!text) return;
    event.preventDefault();
    this.onInput(text);
  }
}
