// Outages, and how soon a guest is back at work after each.

import { sleep } from "../browser/world.mjs";
import { OUTAGES } from "./proxy.mjs";

/** A guest that gets nowhere for so long, with the network there, is stuck. */
export const STUCK_MS = 120_000;

/** Takes the network away now and then, and measures how soon the guest is back. */
export class Watch {
  #over = false;
  #moved = performance.now();
  #waiting = null;
  /** Whether the guest was given up. */
  stuck = false;
  /** After outages in which the guest stood still: what the network did, for how long, and the time until the guest went on. */
  back = [];

  constructor(proxy, random, giveUp) {
    this.proxy = proxy;
    this.random = random;
    this.giveUp = giveUp;
  }

  /** The guest got further. */
  progress() {
    this.#moved = performance.now();
    this.#waiting?.(this.#moved);
    this.#waiting = null;
  }

  stop() {
    this.#over = true;
    this.#waiting?.(null);
  }

  async run() {
    while (!this.#over) {
      const until = performance.now() + this.random.whole(6000, 25_000);
      while (performance.now() < until && !this.#over) {
        await sleep(100);
        if (performance.now() - this.#moved > STUCK_MS) {
          this.stuck = this.#over = true;
          this.giveUp();
        }
      }
      if (this.#over) return;
      const mode = this.random.pick(OUTAGES);
      const long = this.random.whole(500, 12_000);
      this.proxy.outage(mode);
      await sleep(long);
      const stood = performance.now() - this.#moved;
      this.proxy.calm = true;
      this.proxy.restore();
      const restored = performance.now();
      // Only a guest that stood still shows when it goes on.
      if (stood > Math.min(400, long)) {
        const moved = new Promise((resolve) => (this.#waiting = resolve));
        const at = await Promise.race([moved, sleep(STUCK_MS).then(() => performance.now())]);
        if (at !== null) this.back.push({ mode, awayMs: long, backMs: Math.round(at - restored) });
      }
      this.proxy.calm = false;
    }
  }
}
