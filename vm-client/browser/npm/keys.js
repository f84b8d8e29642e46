// Keys that a touch screen does not have, as a row of buttons; and the way out of a terminal for people without a mouse.

/** Two rows of seven: what is on the button, its name, what it sends. The arrows lie as on a keyboard. */
const KEYS = [
  ["Esc", "Escape", "\x1b"],
  ["/", "Slash", "/"],
  ["-", "Minus", "-"],
  ["|", "Pipe", "|"],
  ["Home", "Home", "H"],
  ["\u2191", "Up", "A"],
  ["End", "End", "F"],
  ["Tab", "Tab", "\t"],
  ["Ctrl", "Control, for the next key", null],
  ["Alt", "Alt, for the next key", null],
  ["~", "Tilde", "~"],
  ["\u2190", "Left", "D"],
  ["\u2193", "Down", "B"],
  ["\u2192", "Right", "C"],
];
/** These are sent as the end of a sequence, which depends on the mode of the terminal. */
const CURSOR = "ABCDFH";

export const KEY_ROW_STYLE = `
.keys { display: none; background: #111827; border-top: 1px solid #1f2937; }
.keys div { display: grid; grid-template-columns: repeat(7, 1fr); gap: 5px; max-width: 640px; margin: 0 auto; padding: 6px; }
.keys button { min-width: 0; min-height: 38px; margin: 0; padding: 0; font: 13px/1 system-ui, sans-serif; color: #e2e8f0;
  background: #1b2537; border: 1px solid #334155; border-radius: 6px; touch-action: manipulation; -webkit-tap-highlight-color: transparent; }
.keys button:active { background: #334155; }
.keys button[aria-pressed="true"] { background: #38bdf8; border-color: #38bdf8; color: #06202e; font-weight: 600; }
@media (pointer: coarse), (max-width: 560px) { .keys { display: block; } }
`;

/**
 * Makes the keys for a terminal of xterm.js. `modify` is to be given everything that is typed: it applies Ctrl and Alt of
 * these.
 */
export function keyRow(terminal) {
  const element = document.createElement("div");
  element.className = "keys";
  element.setAttribute("role", "toolbar");
  element.setAttribute("aria-label", "Keys");
  const grid = document.createElement("div");
  element.append(grid);
  const held = { Ctrl: null, Alt: null };
  const hold = (name, on) => {
    held[name].setAttribute("aria-pressed", String(on));
  };
  const isHeld = (name) => held[name].getAttribute("aria-pressed") === "true";
  for (const [label, name, sends] of KEYS) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-label", name);
    // The terminal keeps the focus, and with it the phone's keyboard.
    button.addEventListener("pointerdown", (event) => event.preventDefault());
    if (sends === null) {
      held[label] = button;
      hold(label, false);
      button.addEventListener("click", () => hold(label, !isHeld(label)));
    } else {
      button.addEventListener("click", () => {
        const cursor = CURSOR.includes(sends);
        terminal.input(cursor ? `\x1b${terminal.modes.applicationCursorKeysMode ? "O" : "["}${sends}` : sends, true);
      });
    }
    grid.append(button);
  }
  const modify = (text) => {
    let typed = text;
    const cursor = /^\x1b[[O]([A-DFH])$/.exec(text);
    if (cursor && (isHeld("Ctrl") || isHeld("Alt"))) {
      // As xterm writes a modified cursor key: one more than 2 for Alt and 4 for Ctrl.
      typed = `\x1b[1;${1 + (isHeld("Alt") ? 2 : 0) + (isHeld("Ctrl") ? 4 : 0)}${cursor[1]}`;
      hold("Alt", false);
    }
    if (isHeld("Ctrl") && /^[a-z@[\\\]^_ ]$/i.test(typed)) {
      typed = typed === " " ? "\0" : String.fromCharCode(typed.toUpperCase().charCodeAt(0) & 31);
    }
    if (isHeld("Alt")) typed = `\x1b${typed}`;
    hold("Ctrl", false);
    hold("Alt", false);
    return typed;
  };
  return { element, modify };
}

/** Ctrl+Shift+E gives the focus to `next()`: Tab belongs to the guest. True when the event was that. */
export function leavesTerminal(event, next) {
  if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.code !== "KeyE") return false;
  event.preventDefault();
  next();
  return true;
}
