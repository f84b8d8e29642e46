// One slice of a replay in a thread of its own, of Node or of a browser. Imported elsewhere, it starts such threads in Node.

const node = globalThis.process?.versions?.node !== undefined;
const threads = node ? await import("node:worker_threads") : undefined;

/** Takes `{ script, module, slice }`: where `isa.js` is, the compiled module, and what to replay. Answers with an outcome. */
async function replay({ script, module, slice }) {
  try {
    const { default: init, replay } = await import(script);
    await init({ module_or_path: module });
    const { engine, name, table, file, from, to } = slice;
    const outcome = replay(engine, name, table, file, from, to, { now: () => performance.now() });
    const { cases, failed, forms, text, figures } = outcome;
    return { cases, failed, forms: [...forms].map(Number), text, figures };
  } catch (error) {
    return { error: error.stack ?? String(error) };
  }
}

if (!node) globalThis.onmessage = async ({ data }) => globalThis.postMessage(await replay(data));
else if (!threads.isMainThread && threads.workerData?.slice) threads.parentPort.postMessage(await replay(threads.workerData));

/** Threads of Node; `run(slice)` resolves to an outcome. */
export async function nodeThreads(wasm, module) {
  return {
    run: (slice) =>
      new Promise((resolve, reject) => {
        const workerData = { script: `${wasm}/isa.js`, module, slice };
        const worker = new threads.Worker(new URL(import.meta.url), { workerData });
        worker.once("message", resolve);
        worker.once("error", reject);
        worker.once("exit", (code) => reject(new Error(`a thread ended with ${code} and no answer`)));
      }),
    stop: async () => {},
  };
}
