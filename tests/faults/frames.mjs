// WebSocket frames in a stream of bytes (RFC 6455, section 5.2).

const BINARY = 2;

/** Cuts a stream into frames; each is `{ opcode, fin, payload }`, unmasked. */
export class FrameReader {
  #rest = Buffer.alloc(0);

  /** Takes bytes and returns the frames that they complete. */
  push(data) {
    this.#rest = this.#rest.length ? Buffer.concat([this.#rest, data]) : data;
    const frames = [];
    for (;;) {
      const frame = this.#next();
      if (!frame) return frames;
      frames.push(frame);
    }
  }

  #next() {
    const bytes = this.#rest;
    if (bytes.length < 2) return null;
    let length = bytes[1] & 0x7f;
    let at = 2;
    if (length === 126) {
      if (bytes.length < 4) return null;
      length = bytes.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (bytes.length < 10) return null;
      length = Number(bytes.readBigUInt64BE(2));
      at = 10;
    }
    const masked = (bytes[1] & 0x80) !== 0;
    const mask = masked ? bytes.subarray(at, at + 4) : null;
    if (masked) at += 4;
    if (bytes.length < at + length) return null;
    const payload = Buffer.from(bytes.subarray(at, at + length));
    if (mask) payload.forEach((byte, index) => (payload[index] = byte ^ mask[index & 3]));
    this.#rest = bytes.subarray(at + length);
    return { opcode: bytes[0] & 0x0f, fin: (bytes[0] & 0x80) !== 0, payload };
  }
}

/** The bytes of a frame; those of clients are masked. */
export function emitFrame({ opcode = BINARY, fin = true, payload }, fromClient) {
  const short = payload.length < 126 ? payload.length : payload.length < 65536 ? 126 : 127;
  const head = Buffer.alloc(short === 126 ? 4 : short === 127 ? 10 : 2);
  head[0] = (fin ? 0x80 : 0) | opcode;
  head[1] = (fromClient ? 0x80 : 0) | short;
  if (short === 126) head.writeUInt16BE(payload.length, 2);
  if (short === 127) head.writeBigUInt64BE(BigInt(payload.length), 2);
  // A mask of zeros is a mask.
  return Buffer.concat([head, ...(fromClient ? [Buffer.alloc(4)] : []), payload]);
}

export const isMessage = ({ opcode }) => opcode === BINARY || opcode === 0;
