(() => {
  if (window.minigpt4History) return; // Gradio runs what is in the head twice
  // Conversations of this browser, in its own database: nothing of them is ever sent, unless one is opened to be continued. A summary is
  // what the list shows and searches; the document is the whole conversation, as it is exported. Every text is set as text, never as HTML.
  const DATABASE = "minigpt4-history", OFF = "minigpt4-history-off";
  const news = "BroadcastChannel" in window ? new BroadcastChannel(DATABASE) : null;
  let chosen = null;
  let wanted = "";

  const open = () => new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("summaries", { keyPath: "id" });
      request.result.createObjectStore("documents", { keyPath: "id" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

  // All or nothing: what fails, for want of room above all, leaves everything as it was.
  const transact = async (mode, work) => {
    const database = await open();
    try {
      return await new Promise((resolve, reject) => {
        const transaction = database.transaction(["summaries", "documents"], mode);
        let result;
        transaction.oncomplete = () => resolve(result?.result);
        transaction.onabort = transaction.onerror = (event) => reject(transaction.error ?? event.target.error);
        try {
          result = work(transaction.objectStore("summaries"), transaction.objectStore("documents"));
        } catch (fault) {
          reject(fault);
          transaction.abort();
        }
      });
    } finally {
      database.close();
    }
  };

  const text = (id) => window.minigpt4.word(`history.${id}`);
  const tell = (id) => { for (const place of document.querySelectorAll("#history-note")) place.textContent = id ? text(id) : ""; };
  const keeps = () => { try { return !localStorage.getItem(OFF); } catch { return true; } };
  const changed = () => { news?.postMessage("changed"); return show(); };

  const attempt = async (work) => {
    try {
      await work();
      tell("");
      return true;
    } catch (fault) {
      console.warn("history:", fault);
      tell(fault?.name === "QuotaExceededError" ? "full" : "unavailable");
      return false;
    }
  };

  // A conversation without its pictures' data, which differ a little whenever they are made small.
  const words = ({ messages }) => JSON.stringify(messages, (key, value) => (key === "image" ? "" : value));

  const summary = (id, content, before) => {
    const first = content.messages.flatMap((message) => message.content).find((part) => part.type === "image");
    const said = content.messages.flatMap((message) => message.content).filter((part) => part.type === "text").map((part) => part.text);
    return {
      id, title: before?.renamed ? before.title : content.title, renamed: Boolean(before?.renamed), model: content.model, saved: content.saved,
      thumbnail: first?.image ?? "", text: said.join("\n").toLowerCase(), questions: content.messages.length / 2,
    };
  };

  const history = {
    // `record` is what the server made of the conversation that is open: {"id", "document"}, or nothing.
    async save(record) {
      if (!record || !keeps()) return;
      const { id, document: content } = JSON.parse(record);
      let before = null;
      let same = false;
      await transact("readonly", (summaries, documents) => {
        documents.get(id).onsuccess = ({ target }) => { same = Boolean(target.result) && words(JSON.parse(target.result.document)) === words(content); };
        summaries.get(id).onsuccess = ({ target }) => { before = target.result; };
      }).catch(() => {});
      if (same) return; // opened or reloaded, not continued: it keeps its place in the list
      const line = summary(id, content, before);
      await attempt(() => transact("readwrite", (summaries, documents) => {
        documents.put({ id, document: JSON.stringify({ ...content, title: line.title }) });
        return summaries.put(line);
      }));
      await changed();
    },
    // The conversation whose line was pressed, for the server to open: the value of an event's input.
    take() {
      const taken = chosen ?? "";
      chosen = null;
      return taken;
    },
    all: () => transact("readonly", (summaries) => summaries.getAll()),
    search(words) { wanted = words.toLowerCase(); return show(); },
    keeps,
    keep(on) {
      try { on ? localStorage.removeItem(OFF) : localStorage.setItem(OFF, "1"); } catch { tell("unavailable"); }
    },
    async clear() {
      if (await attempt(() => transact("readwrite", (summaries, documents) => { documents.clear(); return summaries.clear(); }))) await changed();
    },
  };
  window.minigpt4History = history;

  const make = (tag, attributes = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };

  // A second press within a few seconds does it: a dialog would be refused inside a frame.
  const twice = (button, again, act) => {
    let timer = 0;
    let before = [];
    const back = () => {
      clearTimeout(timer);
      timer = 0;
      [button.textContent, button.ariaLabel] = before;
    };
    button.addEventListener("click", () => {
      if (timer) { back(); act(); return; }
      before = [button.textContent, button.ariaLabel];
      button.textContent = again;
      button.ariaLabel = null; // the text is what is asked now
      timer = setTimeout(back, 4000);
    });
    return button;
  };

  const openLine = (id) => attempt(async () => {
    const found = await transact("readonly", (_, documents) => documents.get(id));
    if (!found) { await show(); return; }
    chosen = JSON.stringify({ id, document: found.document });
    document.querySelector("#history-open")?.click();
  });

  const rename = (item, line) => {
    const field = make("input", { type: "text", value: line.title, maxLength: 100 });
    field.setAttribute("aria-label", text("name"));
    const end = async (keep) => {
      field.onblur = null;
      const title = field.value.trim();
      if (keep && title && title !== line.title) {
        await attempt(() => transact("readwrite", (summaries, documents) => {
          documents.get(line.id).onsuccess = (event) => {
            const found = event.target.result;
            if (found) documents.put({ ...found, document: JSON.stringify({ ...JSON.parse(found.document), title }) });
          };
          return summaries.put({ ...line, title, renamed: true });
        }));
      }
      await changed();
      document.querySelector(`#history-list [data-id="${CSS.escape(line.id)}"] .rename`)?.focus();
    };
    field.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); event.stopPropagation(); end(event.key === "Enter"); }
    };
    field.onblur = () => end(true);
    item.querySelector(".open").replaceWith(field);
    field.focus();
    field.select();
  };

  const lineItem = (line) => {
    const day = new Date(line.saved);
    const when = Number.isNaN(day.getTime()) ? "" : day.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const picture = line.thumbnail.startsWith("data:image/") ? [make("img", { src: line.thumbnail, alt: "" })] : [];
    const caption = make("span", { className: "caption" },
      make("span", { className: "title", textContent: line.title || "…" }),
      make("span", { className: "meta", textContent: [when, line.model].filter(Boolean).join(" · ") }));
    const item = make("li", {}, make("button", { type: "button", className: "open", onclick: () => openLine(line.id) }, ...picture, caption));
    item.dataset.id = line.id;
    const named = (button, what) => { button.setAttribute("aria-label", `${what}: ${line.title}`); return button; };
    item.append(
      named(make("button", { type: "button", className: "rename", textContent: text("rename"), onclick: () => rename(item, line) }), text("rename")),
      named(twice(make("button", { type: "button", className: "delete", textContent: text("delete") }), text("really"), async () => {
        if (await attempt(() => transact("readwrite", (summaries, documents) => {
          documents.delete(line.id);
          return summaries.delete(line.id);
        }))) await changed();
      }), text("delete")));
    return item;
  };

  let turn = 0;
  const show = async () => {
    const list = document.querySelector("#history-list");
    if (!list) return;
    const mine = ++turn;
    let lines;
    try { lines = await history.all(); } catch (fault) { console.warn("history:", fault); tell("unavailable"); return; }
    if (mine !== turn) return; // a later call shows what is true by then
    const found = lines.filter((line) => wanted.split(/\s+/).every((word) => line.text.includes(word) || line.title.toLowerCase().includes(word)));
    found.sort((one, other) => other.saved.localeCompare(one.saved));
    list.replaceChildren(...found.map(lineItem));
    for (const part of document.querySelectorAll("#history-search, #history-clear")) part.hidden = !lines.length;
    const empty = document.querySelector("#history-empty");
    if (empty) empty.textContent = found.length ? "" : text(lines.length ? "nothing" : "empty");
  };
  news?.addEventListener("message", show);

  // The panel may be drawn after this script ran, and drawn again later.
  const wire = () => {
    const search = document.querySelector("#history-search");
    if (!search || search.dataset.wired) return;
    search.dataset.wired = "yes";
    search.placeholder = search.ariaLabel = text("search");
    search.oninput = () => history.search(search.value);
    const box = document.querySelector("#history-keep");
    box.checked = keeps();
    box.onchange = () => history.keep(box.checked);
    const all = document.querySelector("#history-clear");
    twice(all, text("really"), history.clear);
    show();
  };
  new MutationObserver(wire).observe(document.documentElement, { childList: true, subtree: true });
  wire();
})();
