// Lists of hot code: what was compiled on an image, so that the next machine with it compiles that early.
//
// One record for each disk, by its name or, without saved changes, by its image: `{ image, list }`, the image's identity and
// what the machine made (`vm-client/kernel/src/hot_code/list.rs`). Nothing depends on it but time.

import { result } from "./overlay.js";

/** Not one of the names of saved changes. */
const DATABASE = "skiff-hot-code";
const STORE = "lists";

/** Lists in the browser's storage. */
export const storedLists = {
  async load(key) {
    const db = await open();
    try {
      return await result(db.transaction(STORE).objectStore(STORE).get(key));
    } finally {
      db.close();
    }
  },

  async save(key, record) {
    const db = await open();
    try {
      await result(db.transaction(STORE, "readwrite", { durability: "relaxed" }).objectStore(STORE).put(record, key));
    } finally {
      db.close();
    }
  },
};

/** The database; rejects where there is no storage. */
async function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return result(request);
}

/** What a machine does about its list: loads it, and stores it when it has changed. */
export class HotCode {
  #vm;
  #lists;
  #key;
  #image;
  #changes;
  #saving = null;

  /** Begins to look for the list of a root disk; null where there is none to keep. */
  static find(lists, disk) {
    if (!lists || !disk || (disk.overlay ?? disk.image) === undefined) return null;
    const key = disk.overlay === undefined ? `image ${disk.image}` : `disk ${disk.overlay}`;
    // Storage that does not work is told of where it matters.
    return lists.load(key).then((kept) => ({ lists, key, kept }), () => null);
  }

  /**
   * Has `vm` use the list that was found, if it fits; `image` is the identity of what is mounted, and `tell` hears why a list is
   * not used. Null where lists cannot be kept.
   */
  static async open(vm, finding, image, tell) {
    const found = await finding;
    if (!found || !image) return null;
    const { lists, key, kept } = found;
    let earlier;
    if (kept && kept.image !== image) {
      tell(`the list of hot code belongs to image b3:${kept.image}, not to b3:${image}: it is made anew`);
    } else if (kept && !(kept.list instanceof Uint8Array)) tell("the list of hot code is damaged: it is made anew");
    else earlier = kept?.list;
    const trouble = vm.keep_hot_code(earlier);
    if (trouble) tell(`${trouble}: it is made anew`);
    return new HotCode(vm, lists, key, image);
  }

  constructor(vm, lists, key, image) {
    this.#vm = vm;
    this.#lists = lists;
    this.#key = key;
    this.#image = image;
    this.#changes = vm.hot_code_changes();
  }

  /** Stores the list if it has changed. */
  async save() {
    const changes = this.#vm.hot_code_changes();
    if (changes === this.#changes || this.#saving) return this.#saving;
    this.#changes = changes;
    const record = { image: this.#image, list: this.#vm.hot_code() };
    // Without room the next load is as slow as the first was.
    this.#saving = this.#lists.save(this.#key, record).catch(() => {});
    await this.#saving;
    this.#saving = null;
  }
}
