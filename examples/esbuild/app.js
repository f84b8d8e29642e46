// Runs one program and shows its output.

import { CloudDevice, Linux } from "skiff-vm";

const output = document.getElementById("output");
try {
  const dev = await CloudDevice.create(new URLSearchParams(location.search).get("image") ?? "./debian");
  const linux = await Linux.create({ mounts: [{ type: "ext2", path: "/", dev }], memory: 128 << 20 });
  await linux.fs.writeFile("/tmp/words", "pear\napple\n");
  const { stdout } = await linux.run("sort", ["/tmp/words"], { stdout: "pipe", timeout: 60_000 });
  output.textContent = new TextDecoder().decode(stdout);
  await linux.delete();
} catch (error) {
  output.textContent = error.message;
}
