// Which panel is open beside the chat. Any element with data-panel="NAME" opens that panel, or closes it if it is open.
// Gradio runs what is in the head twice.
if (!window.minigpt4) {
window.minigpt4 = {
  openPanel(name) {
    const before = document.querySelector("#dock > [data-open]");
    if (before) before.removeAttribute("data-open");
    const panel = name ? document.getElementById("panel-" + name) : null;
    if (panel) panel.setAttribute("data-open", "");
    if (panel && panel !== before) panel.parentElement.scrollTop = 0; // all panels are scrolled by what holds them
    for (const button of document.querySelectorAll("#header [data-panel]")) {
      button.setAttribute("aria-expanded", String(Boolean(panel) && button.dataset.panel === name));
    }
    if (panel) panel.querySelector(".panel-title h2").focus({ preventScroll: true });
    else if (before) document.querySelector(`#header [data-panel="${before.id.slice(6)}"]`).focus();
    dispatchEvent(new Event("resize"));
  },
  // A text of `texts/` in the visitor's language.
  word(key) {
    const texts = (window.gradio_config && window.gradio_config.i18n_translations) || {};
    for (const language of navigator.languages) {
      const found = texts[language] || texts[language.split("-")[0]];
      if (found) return found[key];
    }
    return texts.en ? texts.en[key] : undefined;
  },
  // Call `act` now and whenever something changes inside one of the elements, which may not be there yet.
  onChange(selectors, act) {
    let waiting = false;
    const soon = () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; act(); });
    };
    const sought = selectors.join(",");
    const holds = (node) => node.matches && (node.matches(sought) || node.querySelector(sought));
    // Gradio puts other words and another key into an element that stays.
    const within = (node) => (node.closest ? node : node.parentElement)?.closest(sought);
    new MutationObserver((changes) => {
      if (changes.some(({ target, addedNodes }) => within(target) || [...addedNodes].some(holds))) soon();
    }).observe(document.documentElement, { childList: true, subtree: true, characterData: true, attributeFilter: ["data-text"] });
    soon();
  },
  // On a narrow screen a panel lies over the chat: it closes where the chat is what matters next.
  showChat() {
    if (!matchMedia("(min-width: 901px)").matches && this.openedPanel()) this.openPanel("");
  },
  openedPanel() {
    const panel = document.querySelector("#dock > [data-open]");
    return panel ? panel.id.slice(6) : "";
  },
};

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-panel]");
  if (!opener) return;
  const name = opener.dataset.panel;
  window.minigpt4.openPanel(name === window.minigpt4.openedPanel() ? "" : name);
});

// Any element with data-press="ID" presses the page's own button of that id.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-press]");
  const pressed = opener && document.getElementById(opener.dataset.press);
  if (pressed) pressed.click();
});

document.addEventListener("keydown", (event) => {
  const inside = event.target.closest && event.target.closest("#dock");
  if (event.key === "Escape" && inside && !event.defaultPrevented && !document.fullscreenElement) window.minigpt4.openPanel("");
});

window.minigpt4.onChange(["[data-text]"], () => {
  for (const part of document.querySelectorAll("[data-text]")) {
    const text = window.minigpt4.word(part.dataset.text);
    if (text !== undefined && part.textContent !== text) part.textContent = text;
  }
});

// Gradio calls the examples a list, whose items may not be buttons.
window.minigpt4.onChange(["#chat"], () => {
  for (const examples of document.querySelectorAll("#chat .examples[role=list]")) examples.setAttribute("role", "group");
});
}
