// One tab at a time: a lock that the browser gives back when the tab goes, however it goes.

const RETRY_MS = 100;
/** A page that is being reloaded still holds its lock for a moment. */
const PATIENCE_MS = 1500;

/**
 * Takes the lock of a disk. Resolves to a function that gives it back, to null when another tab has it, and to a
 * function that does nothing where there are no locks (then only the overlay's epoch and stamp protect it). A shared one
 * is for those who only read.
 */
export async function takeLock(name, { shared = false } = {}) {
  if (!globalThis.navigator?.locks) return () => {};
  const start = performance.now();
  for (;;) {
    const release = await tryLock(`skiff-disk:${name}`, shared ? "shared" : "exclusive");
    if (release || performance.now() - start > PATIENCE_MS) return release;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function tryLock(name, mode) {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(name, { mode, ifAvailable: true }, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((release) => resolve(release));
    });
    // A frame without storage has no locks either, and nothing that two could change.
    held.catch((error) => (error.name === "SecurityError" ? resolve(() => {}) : reject(error)));
  });
}
