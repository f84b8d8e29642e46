// A lesson: puts a file into the machine, and looks at what the reader does with it.

import "skiff-vm/terminal";

const terminal = document.getElementById("terminal");
const verdict = document.getElementById("verdict");
const image = new URLSearchParams(location.search).get("image");
if (image) terminal.setAttribute("image", image);

terminal.addEventListener("ready", async ({ detail: linux }) => {
  await linux.fs.writeFile("/tmp/fruit", "pear\napple\nfig\n");
  // A second program beside the reader's shell, with streams of its own.
  const { stdout } = await linux.run("sort", ["/tmp/fruit"], { stdout: "pipe" });
  const sorted = new TextDecoder().decode(stdout).trim().split("\n").join(", ");
  verdict.textContent = `The machine runs. Sorted, the file reads: ${sorted}.`;
});
terminal.addEventListener("crash", ({ detail }) => (verdict.textContent = detail.message));
