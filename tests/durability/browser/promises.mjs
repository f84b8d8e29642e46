// What writer.c has promised, and whether a disk keeps it.

const FILES = 48;
const SLOT = 1500;
const RECORD = 700;
const [FILE, IN_SLOT, IN_LOG] = [1, 2, 3];

/** As `content` in writer.c. */
function content(size, kind, a, b) {
  let state = (Math.imul(kind, 2654435761) ^ (Math.imul(a, 40503) + 1) ^ Math.imul(b, 2246822519)) >>> 0 || 1;
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state >>> 11;
  }
  return bytes;
}

function version(file, number) {
  const bytes = content(8 + ((file * 7919 + number * 104729) % 60000), FILE, file, number);
  bytes.writeUInt32LE(file, 0);
  bytes.writeUInt32LE(number, 4);
  return bytes;
}

export class Promises {
  #versions = new Map();
  #slots = 0;
  #records = 0;
  #rest = "";
  /** Lines taken. */
  count = 0;

  /** Takes output of the program. */
  take(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) {
      const [kind, a, b] = line.split(" ");
      const [x, y] = [Number(a), Number(b)];
      if (kind === "V") this.#versions.set(x, Math.max(y, this.#versions.get(x) ?? 0));
      else if (kind === "W") this.#slots = Math.max(this.#slots, x + 1);
      else if (kind === "L") this.#records = Math.max(this.#records, x);
      else throw new Error(`the program said ${JSON.stringify(line)}`);
      this.count += 1;
    }
  }

  /** What does not hold on a disk. */
  async broken(disk) {
    const path = (file) => `/space/file${file}`;
    const all = Array.from({ length: FILES }, (_, file) => file);
    const found = await disk.read([...all.map(path), "/space/slots", "/space/log"]);
    const wrong = [];
    for (const file of all) {
      const promised = this.#versions.get(file) ?? 0;
      const bytes = found.get(path(file));
      if (!bytes) {
        if (promised > 0) wrong.push(`${path(file)} is gone; version ${promised} was synced`);
        continue;
      }
      const number = bytes.length >= 8 ? bytes.readUInt32LE(4) : 0;
      if (number < promised) wrong.push(`${path(file)} has version ${number}; version ${promised} was synced`);
      else if (!bytes.equals(version(file, number))) wrong.push(`${path(file)}, version ${number}, is not whole`);
    }
    const slots = found.get("/space/slots") ?? Buffer.alloc(0);
    for (let slot = 0; slot < this.#slots; slot += 1) {
      if (!slots.subarray(slot * SLOT, (slot + 1) * SLOT).equals(content(SLOT, IN_SLOT, slot, 0))) wrong.push(`slot ${slot} is not as synced`);
    }
    const log = found.get("/space/log") ?? Buffer.alloc(0);
    for (let record = 0; record < this.#records; record += 1) {
      const here = log.subarray(record * RECORD, (record + 1) * RECORD);
      if (!here.equals(content(RECORD, IN_LOG, record, 0))) wrong.push(`record ${record} of the log is not as synced`);
    }
    return wrong;
  }
}
