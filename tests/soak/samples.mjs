// Work in rounds, what memory was beside it, and whether it stayed flat.

/** Between two looks at memory. */
const SAMPLE_MS = 15_000;
/** Growth from the second fifth to the last that counts as a leak, beside what there was. */
const megabytes = (before) => before * 0.1 + 24;
const MARGINS = { process: megabytes, guest: megabytes, tasks: () => 3, files: () => 8, frames: () => 512 };

export class Samples {
  #end;
  #list = [];
  #rounds = 0;
  #wrong = [];

  constructor(end) {
    this.#end = end;
  }

  /** Does the jobs in turn until the time is over; `run` gets one and the number of the round, and returns what went wrong, or null. */
  async work(jobs, run, measure) {
    const start = performance.now();
    let next = start;
    while (performance.now() < this.#end) {
      for (const job of jobs) {
        const wrong = await run(job, this.#rounds);
        if (wrong) this.#wrong.push(wrong);
        if (performance.now() >= this.#end || this.#wrong.length > 20) return;
        if (performance.now() < next) continue;
        next = performance.now() + SAMPLE_MS;
        const sample = { minutes: Math.round((performance.now() - start) / 600) / 100, ...rounded(await measure()) };
        this.#list.push(sample);
        console.log(JSON.stringify(sample));
      }
      this.#rounds += 1;
    }
  }

  /** First and last figures, their growth, and the verdict. */
  summary(errors) {
    const fifth = Math.max(1, Math.floor(this.#list.length / 5));
    // The first fifth warms up: caches fill, code is compiled, the memory of a wasm module only grows.
    const before = medians(this.#list.slice(fifth, 2 * fifth));
    const after = medians(this.#list.slice(-fifth));
    const leaking = Object.keys(MARGINS).filter((key) => after[key] > before[key] + MARGINS[key](before[key]));
    const flat = this.#list.length >= 5 && leaking.length === 0;
    return { rounds: this.#rounds, samples: this.#list.length, before, after, leaking, flat, wrong: [...this.#wrong, ...errors] };
  }
}

function medians(list) {
  const median = (key) => list.map((sample) => sample[key]).sort((a, b) => a - b)[list.length >> 1];
  return Object.fromEntries(Object.keys(list[0] ?? {}).map((key) => [key, median(key)]));
}

function rounded(sample) {
  return Object.fromEntries(Object.entries(sample).map(([key, value]) => [key, Math.round(value * 10) / 10]));
}
