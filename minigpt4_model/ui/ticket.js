// The conversation's id, kept as long as the tab. A tab holds a lock on its own: a duplicated tab begins with the same id, and finds it taken.
(() => {
  const ours = window.minigpt4;
  if (ours.readTicket) return;
  const KEY = "minigpt4-conversation";
  // A reload asks before its earlier page has let go.
  const PATIENCE_MS = 700;
  let release = null;

  // Resolves to whether the id is this tab's alone; where there are no locks (a page that is not secure) it is taken to be.
  const hold = (id, patience) => new Promise((resolve) => {
    if (!id || !navigator.locks) { resolve(true); return; }
    const given = patience ? { signal: AbortSignal.timeout(patience) } : {};
    const held = () => { resolve(true); return new Promise((end) => { release = end; }); };
    navigator.locks.request(`${KEY}-${id}`, given, held).catch(() => resolve(false));
  });

  ours.readTicket = async () => {
    let id = "";
    try { id = sessionStorage.getItem(KEY) || ""; } catch { /* forbidden */ }
    return [id, !(await hold(id, PATIENCE_MS))];
  };
  ours.keepTicket = (id) => {
    try { sessionStorage.setItem(KEY, id); } catch { /* forbidden */ }
    if (release) release();
    release = null;
    hold(id);
    return id;
  };
})();
