// Words for what can go wrong, and what to do about it.

export const banner = {
  show(code, text, { bad = false, actions } = {}) {
    const old = document.querySelector(`.banner[data-code="${code}"] span`);
    if (old) return void (old.textContent = text);
    const row = document.createElement("div");
    row.className = bad ? "banner bad" : "banner";
    row.dataset.code = code;
    const words = document.createElement("span");
    words.textContent = text;
    row.append(words);
    for (const [label, act] of actions ?? [["Dismiss", () => row.remove()]]) {
      const button = document.createElement("button");
      [button.textContent, button.onclick] = [label, act];
      row.append(button);
    }
    document.getElementById("banners").append(row);
  },
  remove(code) {
    document.querySelector(`.banner[data-code="${code}"]`)?.remove();
  },
};

const ADVICE = {
  unreachable: [
    "The server does not answer",
    (message) => `${message}. Check that the server runs and that this computer is online, then try again.`,
  ],
  "image-not-found": [
    "There is no such image",
    (message) => `${message}. Check the image's name in this page's configuration, or make it with image-tools.`,
  ],
  "image-corrupt": [
    "The image is damaged",
    (message) => `${message}. On the server, "image-tools verify" names every bad object.`,
  ],
  "overlay-mismatch": [
    "The image has changed",
    () =>
      "Your saved changes belong to an earlier version of this image. They fit that version only: go on with it, or reset " +
      "the disk and start from the new one.",
  ],
  "overlay-busy": ["Another tab still uses this disk", () => "Close the other tab, then try again."],
  "overlay-lost": ["The saved changes cannot be used", (message) => `${message}.`],
  unsupported: ["This cannot run here", (message) => message],
};

/** A title and a text for an error of the API. */
export function advice(error) {
  const [title, text] = ADVICE[error.code] ?? ["The machine did not start", (message) => message];
  return { title, text: text(error.message) };
}

/** Asks before something that cannot be undone. */
export function confirmed(title, text, yes) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  document.getElementById("ask-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => (dialog.onclose = () => resolve(dialog.returnValue === "yes")));
}
