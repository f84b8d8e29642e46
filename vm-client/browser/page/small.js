// What a phone's screen wants: a menu instead of a row of buttons, and a page as high as the keyboard leaves it.

/** Opens and closes the menu, which wide screens show as a row. */
export function smallScreens() {
  const button = document.getElementById("more");
  const tools = document.getElementById("tools");
  const set = (open) => {
    tools.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.onclick = () => set(button.getAttribute("aria-expanded") !== "true");
  tools.addEventListener("click", () => set(false));
  document.addEventListener("pointerdown", ({ target }) => {
    if (!tools.contains(target) && target !== button) set(false);
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    set(false);
    button.focus();
  });
  // Some browsers lay their keyboard over the page, where it would hide the prompt.
  const view = globalThis.visualViewport;
  view?.addEventListener("resize", () => {
    if (view.scale > 1.01) return;
    document.body.style.height = `${view.height}px`;
    scrollTo(0, 0);
  });
}
