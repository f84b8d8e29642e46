// What every rejected promise of this package carries.

export class SkiffError extends Error {
  constructor(failure) {
    super(failure.message);
    this.name = "SkiffError";
    Object.assign(this, failure);
  }
}

/** The failure of a caller's mistake. */
export function bad(message) {
  return { code: "bad-argument", message };
}

/** The errors of IndexedDB, as this package's. */
export async function asSkiffError(promise) {
  try {
    return await promise;
  } catch (error) {
    const codes = { OverlayBusy: "overlay-busy", BadArchive: "bad-archive", Fenced: "overlay-lost", NothingSaved: "nothing-saved", QuotaExceededError: "overlay-full" };
    throw new SkiffError({ code: codes[error.name] ?? "storage-blocked", message: error.message });
  }
}
