// xterm.js, set up.

import { FitAddon } from "@xterm/addon-fit";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { Terminal } from "@xterm/xterm";

import { KEY_ROW_STYLE, keyRow, leavesTerminal } from "../npm/keys.js";

const SCREEN_READER = "skiff-screen-reader";
const THEME = {
  background: "#0b0f17",
  foreground: "#e2e8f0",
  cursor: "#38bdf8",
  cursorAccent: "#0b0f17",
  selectionBackground: "#2f4a6b",
  black: "#1e293b",
  red: "#f87171",
  green: "#4ade80",
  yellow: "#facc15",
  blue: "#60a5fa",
  magenta: "#c084fc",
  cyan: "#22d3ee",
  white: "#e2e8f0",
  brightBlack: "#64748b",
  brightRed: "#fca5a5",
  brightGreen: "#86efac",
  brightYellow: "#fde047",
  brightBlue: "#93c5fd",
  brightMagenta: "#d8b4fe",
  brightCyan: "#67e8f9",
  brightWhite: "#f8fafc",
};

export function openTerminal(parent) {
  const terminal = new Terminal({
    allowProposedApi: true,
    cursorBlink: true,
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, "DejaVu Sans Mono", "Liberation Mono", monospace',
    // A phone has little more than fifty columns of these.
    fontSize: innerWidth <= 480 ? 12 : 14,
    lineHeight: 1.15,
    scrollback: 10_000,
    theme: THEME,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(new Unicode11Addon());
  terminal.loadAddon(new WebLinksAddon());
  terminal.unicode.activeVersion = "11";
  terminal.open(parent);
  fit.fit();
  let due = 0;
  new ResizeObserver(() => {
    // One size for a burst of them: each is a SIGWINCH in the guest.
    clearTimeout(due);
    due = setTimeout(() => fit.fit(), 50);
  }).observe(parent);
  clipboard(terminal);
  screenReader(terminal);
  const keys = keyRow(terminal);
  const style = document.createElement("style");
  style.textContent = KEY_ROW_STYLE;
  document.head.append(style);
  document.querySelector("main").after(keys.element);
  return { terminal, modify: keys.modify };
}

/** Whether the terminal is spoken, which costs time, is remembered where the browser keeps anything. */
function screenReader(terminal) {
  const button = document.getElementById("speak");
  const set = (on) => {
    terminal.options.screenReaderMode = on;
    button.setAttribute("aria-pressed", String(on));
  };
  const stored = (change) => {
    try {
      return change(localStorage);
    } catch {
      return null;
    }
  };
  set(stored((storage) => storage.getItem(SCREEN_READER)) === "on");
  button.onclick = () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    set(on);
    stored((storage) => storage.setItem(SCREEN_READER, on ? "on" : "off"));
    terminal.focus();
  };
}

function clipboard(terminal) {
  const copyButton = document.getElementById("copy");
  const copy = async () => {
    await navigator.clipboard?.writeText(terminal.getSelection());
    terminal.focus();
  };
  const paste = async () => {
    try {
      terminal.paste(await navigator.clipboard.readText());
    } catch {
      // Not allowed to read it: the browser's own paste still works.
    }
    terminal.focus();
  };
  terminal.onSelectionChange(() => (copyButton.disabled = !terminal.hasSelection()));
  copyButton.onclick = copy;
  document.getElementById("paste").onclick = paste;
  terminal.attachCustomKeyEventHandler((event) => {
    if (leavesTerminal(event, () => document.getElementById("paste").focus())) return false;
    const chord = event.ctrlKey && event.shiftKey && event.type === "keydown";
    if (chord && event.code === "KeyC" && terminal.hasSelection()) {
      event.preventDefault();
      void copy();
      return false;
    }
    // The browser pastes by itself; xterm must not send ^V too.
    return !(chord && event.code === "KeyV");
  });
}
