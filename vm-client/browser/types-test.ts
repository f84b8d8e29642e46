// Compiled, never run: the API as CheerpX's users write it, and what ours adds.

import {
  CloudDevice,
  DataDevice,
  FileDevice,
  GitHubDevice,
  HttpBytesDevice,
  IDBDevice,
  Linux,
  OverlayDevice,
  SkiffError,
  WebDevice,
} from "./npm/index.js";

export async function terminal(write: (text: Uint8Array) => void, element: HTMLElement): Promise<number> {
  const base = await CloudDevice.create("wss://disks.example.org/debian");
  const idb = await IDBDevice.create("blocks");
  const overlay = await OverlayDevice.create(base, idb);
  const cx = await Linux.create({
    mounts: [
      { type: "ext2", path: "/", dev: overlay },
      { type: "devs", path: "/dev" },
      { type: "devpts", path: "/dev/pts" },
      { type: "proc", path: "/proc" },
      { type: "sys", path: "/sys" },
    ],
    networkInterface: { authKey: "key", loginUrlCb: (url) => console.log(url), stateUpdateCb: (state) => console.log(state) },
  });
  cx.setConsole(element);
  cx.setKmsCanvas(document.createElement("canvas"), 1024, 768);
  const activate = cx.setActivateConsole((vt) => console.log(vt));
  activate(1);
  const read = cx.setCustomConsole((data, vt) => (vt === 1 ? write(data) : undefined), 80, 24);
  for (const character of "ls\r") read(character.charCodeAt(0));
  cx.registerCallback("cpuActivity", (state) => console.log(state === "ready"));
  cx.registerCallback("diskLatency", (ms) => console.log(ms.toFixed(1)));
  const { status } = await cx.run("/bin/bash", ["--login"], { env: ["HOME=/root"], cwd: "/root", uid: 0, gid: 0 });
  return status;
}

export async function program(cx: Linux): Promise<string> {
  const process = await cx.spawn("/usr/bin/sort", [], { stdin: "pipe", stdout: "pipe", timeout: 1000 });
  process.write("b\na\n");
  process.closeStdin();
  try {
    const { stdout } = await process.ended;
    return new TextDecoder().decode(stdout);
  } catch (error) {
    return error instanceof SkiffError ? `${error.code}: ${error.message}` : "";
  }
}

export async function devices(): Promise<Linux> {
  const bases = [
    await HttpBytesDevice.create("/images/debian.ext2"),
    await GitHubDevice.create("debian.ext2"),
    await CloudDevice.create("wss://disks.example.org/debian", { publicKey: `ed25519:${"00".repeat(32)}` }),
  ];
  const overlay = await OverlayDevice.create(bases[0]!, await IDBDevice.create("bytes"));
  const data = await DataDevice.create();
  await data.writeFile("/input.txt", "text");
  await data.writeFile("/input.bin", new Uint8Array(3));
  const web = await WebDevice.create("files");
  const files = await IDBDevice.create("files");
  const chained = await OverlayDevice.create(overlay, await IDBDevice.create("fork"));
  const output: Blob | null = await files.readFileAsBlob("/output.txt");
  console.log(output?.size);
  return Linux.create({
    mounts: [
      { type: "ext2", path: "/", dev: chained },
      { type: "ext2", path: "/mnt", dev: await FileDevice.create(web, "other.ext2") },
      { type: "dir", path: "/files", dev: files },
      { type: "dir", path: "/web", dev: web },
      { type: "dir", path: "/data", dev: data },
    ],
  });
}

// @ts-expect-error a directory is no disk
void OverlayDevice.create(new WebDevice(), new IDBDevice());
// @ts-expect-error the first mount has a path
void Linux.create({ mounts: [{ type: "ext2" }] });
// @ts-expect-error there is no such event
export const misspelt = (cx: Linux) => cx.registerCallback("cpuActvity", () => {});
