// Files that the browser writes and reads by itself, and links that bring a question: see share_panel.py.
if (!window.minigpt4Share) {
window.minigpt4Share = {
  write(made) {
    if (!made) return "";
    const { name, content } = JSON.parse(made);
    const types = { md: "text/markdown", json: "application/json", html: "text/html" };
    const address = URL.createObjectURL(new Blob([content], { type: `${types[name.split(".").pop()]};charset=utf-8` }));
    Object.assign(document.createElement("a"), { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    return "";
  },
  // The text of a file that a person chooses; nothing if none is chosen. Files larger than any conversation are cut, and so refused.
  read() {
    return new Promise((resolve) => {
      const field = Object.assign(document.createElement("input"), { type: "file", accept: ".json,application/json" });
      field.addEventListener("change", async () => resolve((await field.files[0]?.slice(0, 41000000).text()) || " "));
      field.addEventListener("cancel", () => resolve(""));
      field.click();
    });
  },
  // What stands behind the # of the address, once: a reload must not ask again.
  takeLink() {
    const link = location.hash;
    history.replaceState(null, "", location.pathname + location.search);
    return link;
  },
};

(() => {
  const open = () => { if (location.hash.includes("question=")) document.querySelector("#link-open")?.click(); };
  addEventListener("hashchange", open);
  const waiting = new MutationObserver(() => {
    if (!document.querySelector("#app-ready")) return;
    waiting.disconnect();
    open();
  });
  waiting.observe(document.documentElement, { childList: true, subtree: true });
})();
}
