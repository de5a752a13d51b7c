// Which panel is open beside the chat. Any element with data-panel="NAME" opens that panel, or closes it if it is open.
// Gradio runs what is in the head twice.
if (!window.minigpt4) {
window.minigpt4 = {
  openPanel(name) {
    const before = document.querySelector("#dock > [data-open]");
    if (before) before.removeAttribute("data-open");
    const panel = name ? document.getElementById("panel-" + name) : null;
    if (panel) panel.setAttribute("data-open", "");
    for (const button of document.querySelectorAll("#header [data-panel]")) {
      button.setAttribute("aria-expanded", String(Boolean(panel) && button.dataset.panel === name));
    }
    if (panel) panel.querySelector(".panel-title h2").focus({ preventScroll: true });
    else if (before) document.querySelector(`#header [data-panel="${before.id.slice(6)}"]`).focus();
    dispatchEvent(new Event("resize"));
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

document.addEventListener("keydown", (event) => {
  const inside = event.target.closest && event.target.closest("#dock");
  if (event.key === "Escape" && inside && !event.defaultPrevented && !document.fullscreenElement) window.minigpt4.openPanel("");
});
}
