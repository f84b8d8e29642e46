// What the mounts of a page say, checked and put into messages.

import { CloudDevice, DataDevice, FileDevice, GitHubDevice, HttpBytesDevice, IDBDevice, OverlayDevice, WebDevice } from "./devices.js";
import { SkiffError, bad } from "./error.js";

/** The kernel mounts these itself; naming them as CheerpX's users do is fine. */
const ALWAYS_THERE = ["devs", "devpts", "proc", "sys"];

/** The mounts that are more than names: `path` and `dev`, and the `disk` or `url` that the worker is told. The root is the first. */
export async function mountsOf(mounts) {
  // As CheerpX has it: nothing named means the files of the page's own server.
  const wanted = mounts.length ? mounts : [{ type: "dir", path: "/", dev: await WebDevice.create("") }];
  if (wanted[0]?.path !== "/" || !["ext2", "dir"].includes(wanted[0].type)) {
    throw new SkiffError(bad('the first mount must be { type: "ext2", path: "/", dev }'));
  }
  const plan = [];
  const names = new Set();
  for (const [index, { type, path, dev }] of wanted.entries()) {
    if (ALWAYS_THERE.includes(type)) continue;
    if (type !== "ext2" && type !== "dir") {
      throw new SkiffError({ code: "unsupported", message: `cannot mount ${path}: type ${JSON.stringify(type)} is not supported` });
    }
    if (index > 0 && (typeof path !== "string" || !/^\/[^/]/.test(path))) {
      throw new SkiffError(bad(`a ${type} cannot be mounted at ${JSON.stringify(path)}`));
    }
    const point = path === "/" ? path : path.replace(/\/+$/, "");
    const mount = { path: point, dev, ...(type === "ext2" ? { disk: await diskOf(point, dev) } : directoryOf(point, dev)) };
    const { overlay } = mount.disk ?? {};
    if (overlay !== undefined && names.has(overlay)) throw new SkiffError(bad(`the changes ${JSON.stringify(overlay)} are used by two mounts`));
    names.add(overlay);
    plan.push(mount);
  }
  return plan;
}

async function diskOf(path, dev) {
  const [top, layers] = [dev instanceof OverlayDevice ? dev : null, []];
  let base = top ? top.base : dev;
  for (; base instanceof OverlayDevice; base = base.base) layers.unshift(base.idb.name);
  const changes = { layers, overlay: top?.idb.name, whenBusy: top?.whenBusy ?? "copy" };
  if (top && layers.includes(top.idb.name)) throw new SkiffError(bad("an OverlayDevice cannot lie on its own changes"));
  if (base instanceof FileDevice) return { kind: "held", content: await base.content(), ...changes };
  if ([CloudDevice, HttpBytesDevice, GitHubDevice].some((kind) => base instanceof kind)) {
    return { kind: base.kind, image: base.image, publicKey: base.publicKey, token: CloudDevice.tokenOf(base), ...changes };
  }
  const what = path === "/" ? "the root's dev" : `the dev of the ext2 at ${path}`;
  throw new SkiffError(bad(`${what} must be a CloudDevice, HttpBytesDevice, GitHubDevice or FileDevice, or an OverlayDevice over one`));
}

function directoryOf(path, dev) {
  if (dev instanceof WebDevice) return { url: dev.url };
  if (dev instanceof IDBDevice) return { disk: { kind: "blank", layers: [], overlay: dev.name, whenBusy: "copy" } };
  if (dev instanceof DataDevice && path !== "/") return {};
  throw new SkiffError(bad(`the dev of the dir at ${path} must be a WebDevice${path === "/" ? "" : ", a DataDevice"} or an IDBDevice`));
}
