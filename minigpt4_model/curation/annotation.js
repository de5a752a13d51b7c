() => {
  if (window.curation) return;
  const KEYS = { k: "keep", d: "drop", u: "undo", ArrowRight: "skip", ArrowLeft: "back" };
  const box = () => document.querySelector("#text textarea");
  const view = () => document.querySelector("#view textarea, #view input")?.value;
  // After a key or a click nothing more is taken until the page shows something new or says that there is nothing: nobody decides about what
  // they have not seen. An answer that never comes is not waited for.
  let busySince = 0;
  let seen = null;
  const busy = () => view() === seen && Date.now() - busySince < 10000;
  const curation = {
    busy,
    ready() { seen = null; },
    edit() { const field = box(); field.focus(); field.setSelectionRange(field.value.length, field.value.length); },
    press(id) {
      const button = document.getElementById(id);
      if (button && !button.disabled && button.offsetParent !== null) button.click();
    },
  };
  window.curation = curation;
  document.addEventListener("click", (event) => {
    if (!Object.values(KEYS).includes(event.target.closest("button")?.id)) return;
    if (busy()) event.stopImmediatePropagation();
    else [seen, busySince] = [view(), Date.now()];
  }, true);
  document.addEventListener("keydown", (event) => {
    if (event.target === box()) {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        box().blur();
        curation.press("keep");
      } else if (event.key === "Escape") {
        box().blur();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest("input, textarea, select, [role=listbox]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "e" && box()?.offsetParent) {
      event.preventDefault();
      curation.edit();
    } else if (KEYS[key]) {
      event.preventDefault();
      curation.press(KEYS[key]);
    }
  });
}
