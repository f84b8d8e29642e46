// What is seen until the terminal has something to show.

import { size } from "./status.js";

/** A login reads about this much; the bar only needs to move honestly, not to be exact. */
const USUAL_CHUNKS = 90;

export class BootScreen {
  #screen = document.getElementById("boot");
  #bar = document.getElementById("boot-bar");
  #text = document.getElementById("boot-text");
  #title = document.getElementById("boot-title");
  #over = false;

  constructor(what) {
    this.#title.textContent = `Starting ${what}`;
  }

  say(text) {
    if (!this.#over) this.#text.textContent = text;
  }

  progress({ chunks, bytesFetched, offline }) {
    if (this.#over || this.#screen.classList.contains("failed")) return;
    if (offline) return this.say("Waiting for the server. Starting goes on by itself once it answers.");
    this.#bar.style.width = `${100 * (1 - Math.exp((-2 * chunks) / USUAL_CHUNKS))}%`;
    this.say(`${chunks} chunks of the disk have arrived (${size(bytesFetched)})`);
  }

  done() {
    if (this.#over) return;
    this.#over = true;
    this.#bar.style.width = "100%";
    this.#screen.classList.add("done");
    setTimeout(() => (this.#screen.hidden = true), 300);
  }

  fail(title, text, actions) {
    this.#over = true;
    this.#screen.hidden = false;
    this.#screen.classList.remove("done");
    this.#screen.classList.add("failed");
    this.#title.textContent = title;
    this.#text.textContent = text;
    const buttons = actions.map(([label, act, style]) => {
      const button = document.createElement("button");
      button.textContent = label;
      button.className = style ?? "";
      button.onclick = act;
      return button;
    });
    document.getElementById("boot-actions").replaceChildren(...buttons);
  }
}
