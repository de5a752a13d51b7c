// Sending what is in the box. It leaves the box when it is sent, so that what is typed from then on is the next question; what the
// server refuses comes back in front of that.
(() => {
  const ours = window.minigpt4;
  if (ours.send) return;
  const field = () => document.querySelector("#box textarea");
  let pressed = "";
  let sent = null;
  let leaving = 0;  // pictures that are sent and still in the box
  let seen = "";  // the receipt of the question before

  // Between the press and `send` Gradio waits for pictures that are still coming up, and letters may be typed already.
  const press = () => { pressed = field().value; };
  document.addEventListener("keypress", (event) => {
    if (event.key === "Enter" && !event.shiftKey && event.target === field()) press();
  }, true);
  document.addEventListener("click", (event) => {
    if (event.target.closest("#box .submit-button")) press();
  }, true);

  // What the server gets. The text leaves at once; for the pictures Gradio needs a press of a button of its own.
  ours.send = (conversation, box, ...settings) => {
    const typed = field().value;
    const since = typed.startsWith(pressed) ? typed.slice(pressed.length) : "";
    sent = { text: since ? pressed : typed, files: [...box.files] };
    leaving = sent.files.length;
    field().value = since;
    field().dispatchEvent(new InputEvent("input", { bubbles: true }));
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

  // The box and the status line, when the server has done with what was sent: see `receipt` in `chat_panel.py`.
  ours.returned = (box, receipt) => {
    const back = sent;
    const [heard, positions] = receipt && receipt !== seen ? [true, JSON.parse(receipt)[1]] : [false, null];
    sent = null;
    seen = receipt;
    if (!back || (heard && !positions)) return undefined;
    const files = heard ? positions.map((position) => back.files[position]) : back.files;
    const text = [back.text, field().value].filter(Boolean).join("\n");
    return [{ text, files: [...files, ...remaining(box)] }, heard ? undefined : `<p role="status"></p>`];
  };
})();
