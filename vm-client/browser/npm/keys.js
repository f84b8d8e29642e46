// Keys that a touch screen does not have, as a row of buttons; and the way out of a terminal for people without a mouse.

const ROW = [
  ["Esc", "Escape", "\x1b"],
  ["Tab", "Tab", "\t"],
  ["Ctrl", "Control, for the next key", null],
  ["Alt", "Alt, for the next key", null],
  ["\u2190", "Left", "D"],
  ["\u2191", "Up", "A"],
  ["\u2193", "Down", "B"],
  ["\u2192", "Right", "C"],
  ["/", "Slash", "/"],
  ["|", "Pipe", "|"],
  ["-", "Minus", "-"],
  ["~", "Tilde", "~"],
];
const ARROWS = "ABCD";

export const KEY_ROW_STYLE = `
.keys { display: none; gap: 6px; padding: 6px 8px; overflow-x: auto; background: #111827; border-top: 1px solid #1f2937; }
.keys button { flex: 1 0 auto; min-width: 40px; min-height: 40px; margin: 0; padding: 0 8px; font: 15px/1 system-ui, sans-serif;
  color: #e2e8f0; background: #1b2537; border: 1px solid #334155; border-radius: 6px; touch-action: manipulation; }
.keys button[aria-pressed="true"] { background: #38bdf8; border-color: #38bdf8; color: #06202e; }
@media (pointer: coarse), (max-width: 560px) { .keys { display: flex; } }
`;

/**
 * Makes the row for a terminal of xterm.js. `modify` is to be given everything that is typed: it applies Ctrl and Alt of the
 * row.
 */
export function keyRow(terminal) {
  const element = document.createElement("div");
  element.className = "keys";
  element.setAttribute("role", "toolbar");
  element.setAttribute("aria-label", "Keys");
  const held = { Ctrl: null, Alt: null };
  const hold = (name, on) => {
    held[name].setAttribute("aria-pressed", String(on));
  };
  const isHeld = (name) => held[name].getAttribute("aria-pressed") === "true";
  for (const [label, name, sends] of ROW) {
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
        const arrow = ARROWS.includes(sends);
        terminal.input(arrow ? `\x1b${terminal.modes.applicationCursorKeysMode ? "O" : "["}${sends}` : sends, true);
      });
    }
    element.append(button);
  }
  const modify = (text) => {
    let typed = text;
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
