// Files between the page and the guest: dropped on the terminal they go to the shell's directory.

import { size } from "./status.js";
import { banner } from "./notices.js";

/** Takes files that are dropped on an element; `machine()` gives the machine, or null while there is none. */
export function takeDrops(element, machine) {
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  element.addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    element.classList.add("dropping");
  });
  element.addEventListener("dragleave", () => element.classList.remove("dropping"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("dropping");
    if (!isFiles(event)) return;
    // Else the browser leaves the page to show the file.
    event.preventDefault();
    const linux = machine();
    if (linux) void upload(linux, [...event.dataTransfer.files]);
  });
}

async function upload(linux, files) {
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  banner.show("upload", `Writing ${count(files.length)} (${size(bytes)}) to the guest`);
  try {
    const paths = await linux.upload(files);
    banner.show("upload", `Written: ${paths.join(", ")}`);
    setTimeout(() => banner.remove("upload"), 8000);
  } catch (error) {
    const full = error.errno === "ENOSPC" ? " The disk is full: remove files in the guest." : "";
    const folder = error.name === "NotFoundError" || error.name === "NotReadableError" ? " Folders cannot be dropped: pack them first." : "";
    banner.show("upload", `The files could not be written: ${error.message}.${full}${folder}`);
  }
}

function count(files) {
  return files === 1 ? "one file" : `${files} files`;
}
