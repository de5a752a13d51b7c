// What is in the box, and what was sent from it and not yet heard of, is kept as long as the tab: neither a reload nor a connection that
// breaks costs a word. What the server gives for the box goes in front of what is there.
(() => {
  const ours = window.minigpt4;
  if (ours.giveBack) return;
  const KEY = "minigpt4-draft";
  const field = () => document.querySelector("#box textarea");
  const known = new Map();  // what Gradio knows of a picture in the box, by its address
  let opened = false;
  let away = null;  // the question that was sent and not heard of, and how many there were before it
  let shownAway = false;  // whether it stands in the box again

  const inBox = () => [...document.querySelectorAll("#box .thumbnail-item img")].map((picture) => known.get(picture.src)).filter(Boolean);
  const note = (files) => { for (const file of files) known.set(new URL(file.url, location.href).href, file); };
  // The box as the server gets it when a picture has come: it need not know what is written beside it.
  ours.pictures = (box) => {
    note(box.files);
    return { text: "", files: box.files };
  };

  function keep() {
    if (!opened) return;
    let draft = { away, text: field().value, files: inBox() };
    if (away && shownAway) {
      const rest = draft.text.startsWith(away.text) ? draft.text.slice(away.text.length).trimStart() : null;
      draft = rest === null ? { away: null, text: draft.text, files: [...away.files, ...draft.files] } : { ...draft, text: rest };
    }
    try { sessionStorage.setItem(KEY, JSON.stringify(draft)); } catch { /* forbidden, or no room */ }
  }
  function kept() {
    try { return JSON.parse(sessionStorage.getItem(KEY)); } catch { return null; }
  }
  addEventListener("pagehide", keep);
  document.addEventListener("input", (event) => { if (event.target === field()) keep(); });

  // Several questions, one after the other.
  ours.joined = (...texts) => texts.filter(Boolean).join("\n\n");

  // `question` has just been sent; nothing, when the server has said what became of it.
  ours.keepSent = (question) => {
    shownAway = false;
    away = question && { ...question, before: document.querySelectorAll("#chat .user-row:not(:has(.component))").length };
    keep();
  };
  // The connection is gone, and Gradio does nothing more before it loads the page again: the text at least is seen.
  ours.showSent = () => {
    if (!away || shownAway) return;
    shownAway = true;
    field().value = ours.joined(away.text, field().value);
    field().dispatchEvent(new InputEvent("input", { bubbles: true }));
  };

  // The box, when the server has given a question for it: what is taken back, refused, or brought by a link.
  ours.give = (given, box) => {
    if (!given.text && !given.files.length) return undefined;
    return [{ text: "", files: [] }, { text: ours.joined(given.text, field().value), files: [...given.files, ...box.files] }];
  };

  // The box, when the page has opened: what it held before. A question that was sent comes back, too, unless the conversation has it.
  ours.giveBack = async (chat, box) => {
    const { away: sent, text, files } = kept() || { text: "", files: [] };
    const asked = (chat || []).filter(({ role, content }) => role === "user" && [content].flat().some((part) => part.type === "text")).length;
    const back = sent && asked <= sent.before ? sent : { text: "", files: [] };
    const there = await Promise.all([...back.files, ...files].map(async (file) => {
      const found = await fetch(file.url, { method: "HEAD" }).catch(() => null);
      return found && found.ok ? [file] : [];
    }));
    const all = { text: ours.joined(back.text, text, field().value), files: [...there.flat(), ...box.files] };
    note(all.files);
    opened = true;
    return all.text || all.files.length ? all : undefined;
  };
})();
