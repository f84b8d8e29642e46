// This computer's own processor and kernel, with the image's tree as the root directory.

import { run } from "./process.mjs";

export const title = "native";

export async function start({ tree, patienceMs }) {
  // Without root a user namespace gives the same.
  const enter = process.getuid() === 0 ? ["chroot", tree] : ["unshare", "-r", "-R", tree];
  return {
    run: (command) => run([...enter, ...command], { patienceMs }),
    stop: async () => {},
  };
}
