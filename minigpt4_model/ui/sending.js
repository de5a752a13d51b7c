// Sending what is in the box. It leaves the box when it is sent, so that what is typed from then on is the next question; what the
// server refuses comes back in front of that.
(() => {
  const ours = window.minigpt4;
  if (ours.send) return;
  const field = () => document.querySelector("#box textarea");
  let pressed = null;
  let sent = null;  // the question whose answer has not ended
  let leaving = 0;  // pictures that are sent and still in the box
  let seen = "";  // the receipt of the question before
  let latest = "";  // the last receipt that came
  let again = false;  // whether Send was pressed in the moment after the end of an answer

  // Gradio drops a press while its event for the last one is under way, and that ends a moment later than the answer.
  function admit(event) {
    const writing = !document.querySelector("#box .submit-button");  // Stop is in its place
    if (!sent && !writing) {
      if (pressed === null || !document.querySelector("#box .loader")) {
        // Between the press and `send` Gradio waits for pictures that are still coming up, and letters may be typed already.
        pressed = field().value;
        return;
      }
    } else if (sent && latest !== seen && !writing) again = true;
    else if (field().value.trim() || document.querySelector("#box .thumbnail-item")) document.getElementById("busy").click();
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  document.addEventListener("keypress", (event) => {
    if (event.key === "Enter" && !event.shiftKey && event.target === field()) admit(event);
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest("#box .submit-button")) admit(event);
  }, true);

  // What the server gets. The text leaves at once; for the pictures Gradio needs a press of a button of its own.
  ours.send = (conversation, box, ...settings) => {
    const typed = field().value;
    const before = pressed ?? typed;
    const since = typed.startsWith(before) ? typed.slice(before.length) : "";
    sent = { text: since ? before : typed, files: [...box.files] };
    pressed = null;
    leaving = sent.files.length;
    field().value = since;
    field().dispatchEvent(new InputEvent("input", { bubbles: true }));
    ours.keepSent(sent);
    document.getElementById("empty").click();
    return [conversation, sent, ...settings];
  };
  function remaining(box) {
    const files = box.files.slice(leaving);
    leaving = 0;
    return files;
  }
  // The box and the status line, when something has just been sent.
  ours.emptied = (box) => [
    { text: field().value, files: remaining(box) },
    sent ? `<p role="status">${ours.word("status.sending")}</p>` : undefined,
  ];
  // The status line, when Send was pressed while an answer is written: what was to be sent stays in the box.
  ours.busy = () => `<p role="alert" class="warning">${ours.word("status.busy")}</p>`;

  // The server's first word about what was sent: it is asked, or will come back.
  ours.heard = (receipt) => {
    latest = receipt;
    if (receipt && !JSON.parse(receipt)[1]) ours.keepSent(null);
  };
  // The box and the status line, when the server has done with what was sent: see `receipt` in `chat_panel.py`.
  ours.returned = (box, receipt) => {
    const back = sent;
    const [heard, positions] = receipt && receipt !== seen ? [true, JSON.parse(receipt)[1]] : [false, null];
    const wanted = again;
    [sent, again, seen, latest] = [null, false, receipt, receipt];
    ours.keepSent(null);
    if (!back || (heard && !positions)) {
      // Gradio forgets the event that has ended as soon as this has returned.
      if (wanted) setTimeout(() => document.querySelector("#box .submit-button")?.click());
      return undefined;
    }
    const files = heard ? positions.map((position) => back.files[position]) : back.files;
    return [{ text: ours.joined(back.text, field().value), files: [...files, ...remaining(box)] }, heard ? undefined : `<p role="status"></p>`];
  };

  // Gradio tells that the connection is lost, tries to get it back and then loads the page again.
  ours.onChange([".toast-wrap"], () => {
    const lost = [...document.querySelectorAll(".toast-body.error")].some(({ textContent }) => textContent.includes("Connection to the server was lost"));
    if (lost && sent && latest === seen) ours.showSent();
  });
})();
