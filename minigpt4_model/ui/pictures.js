// Pictures: seen large, moved and removed before they are sent, taken with the camera. All of it happens in the browser.
(() => {
  const ours = window.minigpt4;
  if (ours.rearranged) return;
  const word = (name) => ours.word("word." + name);
  const attached = () => [...document.querySelectorAll("#box .thumbnail-item")];
  const inChat = () => [...document.querySelectorAll("#chat [data-testid=user] img")];
  const outlines = {
    close: "M6 6l12 12M18 6L6 18",
    previous: "M15 5l-7 7 7 7",
    next: "M9 5l7 7-7 7",
    camera: "M4 8h3.5l1.5-2.5h6L16.5 8H20v11H4zM12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z",
  };

  function button(name, text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "picture-button " + name;
    if (outlines[name]) {
      made.innerHTML = `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="${outlines[name]}"/></svg>`;
      made.setAttribute("aria-label", text);
      made.title = text;
    } else made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  function dialog(id, label) {
    const made = document.createElement("dialog");
    made.id = id;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", (event) => event.target === made && made.close());
    made.addEventListener("close", () => made.remove());
    document.querySelector(".gradio-container").append(made);
    return made;
  }

  // The order that the box shall have: positions of now, in their new order.
  let order = null;
  ours.rearranged = (box) => {
    const files = order ? order.map((position) => box.files[position]).filter(Boolean) : box.files;
    order = null;
    return { ...box, files };
  };
  function rearrange(wanted) {
    order = wanted;
    document.querySelector("#rearrange").click();
  }
  function move(from, to) {
    const wanted = attached().map((_, position) => position);
    if (to < 0 || to >= wanted.length || from === to) return;
    wanted.splice(to, 0, ...wanted.splice(from, 1));
    rearrange(wanted);
    stayAt(to);
  }
  function remove(position) {
    rearrange(attached().map((_, other) => other).filter((other) => other !== position));
    stayAt(Math.max(0, position - 1));
  }

  // Gradio's box takes the focus whenever it changes; who arranges pictures with the keyboard wants to go on.
  let held = { position: 0, until: 0 };
  const stayAt = (position) => { held = { position, until: performance.now() + 1000 }; };
  document.addEventListener("focusin", (event) => {
    if (performance.now() > held.until || !event.target.matches("#box textarea")) return;
    const look = document.querySelectorAll("#box .look")[held.position];
    if (look) look.focus();
  });

  function show(pictures, position, waiting) {
    const box = dialog("lightbox", word("large"));
    const picture = document.createElement("img");
    const caption = document.createElement("p");
    const bar = document.createElement("div");
    const previous = button("previous", word("previous"), () => turn(-1));
    const next = button("next", word("next"), () => turn(1));
    function turn(by) {
      position = (position + by + pictures.length) % pictures.length;
      picture.src = pictures[position].src;
      picture.alt = pictures[position].alt || word("large");
      caption.textContent = pictures[position].alt;
    }
    bar.className = "bar";
    if (waiting) {
      const then = (act) => () => { act(); box.close(); };
      if (position > 0) bar.append(button("earlier", word("earlier"), then(() => move(position, position - 1))));
      if (position < pictures.length - 1) bar.append(button("later", word("later"), then(() => move(position, position + 1))));
      bar.append(button("remove", word("remove"), then(() => remove(position))));
    } else if (pictures.length > 1) {
      bar.append(previous, next);
      box.addEventListener("keydown", (event) => {
        if (event.key === "ArrowLeft") turn(-1);
        if (event.key === "ArrowRight") turn(1);
      });
    }
    box.append(picture, caption, bar, button("close", word("close"), () => box.close()));
    turn(0);
    box.showModal();
  }

  async function takePicture() {
    const box = dialog("camera", word("camera"));
    const video = document.createElement("video");
    const trouble = document.createElement("p");
    const bar = document.createElement("div");
    let stream = null;
    const shoot = button("shoot", word("shoot"), () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob((blob) => { attach(new File([blob], "camera.jpg", { type: "image/jpeg" })); box.close(); }, "image/jpeg", 0.92);
    });
    shoot.disabled = true;
    bar.className = "bar";
    bar.append(shoot);
    [video.autoplay, video.muted, video.playsInline] = [true, true, true];
    trouble.setAttribute("role", "alert");
    box.append(video, trouble, bar, button("close", word("close"), () => box.close()));
    let open = true;
    box.addEventListener("close", () => {
      open = false;
      if (stream) stream.getTracks().forEach((track) => track.stop());
    });
    box.showModal();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (!open) return stream.getTracks().forEach((track) => track.stop());
      video.srcObject = stream;
      await video.play();
      shoot.disabled = false;
      shoot.focus();
    } catch (fault) {
      trouble.textContent = word("no_camera").replace("{reason}", fault.message || fault.name);
    }
  }

  function attach(file) {
    const data = new DataTransfer();
    data.items.add(file);
    document.querySelector("#box textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }

  document.addEventListener("click", (event) => {
    const look = event.target.closest("#box .look");
    if (look) {
      const pictures = attached().map((item) => item.querySelector("img") || new Image());
      show(pictures, attached().indexOf(look.closest(".thumbnail-item")), true);
      return;
    }
    const frame = event.target.closest("#chat [data-testid=user] :is(button, .image-frame)");
    const picture = frame && frame.querySelector("img");
    if (picture) show(inChat(), inChat().indexOf(picture), false);
  });

  // Thumbnails in the box: arrows and the mouse move them, Delete removes them.
  document.addEventListener("keydown", (event) => {
    const look = event.target.closest && event.target.closest("#box .look");
    if (!look) return;
    const position = attached().indexOf(look.closest(".thumbnail-item"));
    const act = { ArrowLeft: () => move(position, position - 1), ArrowRight: () => move(position, position + 1), Delete: () => remove(position), Backspace: () => remove(position) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  let dragged = null;
  document.addEventListener("dragstart", (event) => { dragged = event.target.closest && event.target.closest("#box .thumbnail-item"); });
  document.addEventListener("dragend", () => { dragged = null; });
  for (const kind of ["dragenter", "dragover", "drop"]) {
    // Before Gradio sees it, which would take it for a file that is dropped.
    document.addEventListener(kind, (event) => {
      if (!dragged) return;
      event.preventDefault();
      event.stopPropagation();
      const target = event.target.closest("#box .thumbnail-item");
      if (kind === "drop" && target) move(attached().indexOf(dragged), attached().indexOf(target));
    }, true);
  }

  // What is dropped beside the box goes into it, too: a browser would show it in place of the page.
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => {
      if (event.defaultPrevented || !event.dataTransfer || !event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      const options = { dataTransfer: event.dataTransfer, bubbles: true, cancelable: true };
      if (kind === "drop") document.querySelector("#box .full-container").dispatchEvent(new DragEvent("drop", options));
    });
  }

  let seen = 0;
  function dress() {
    const row = document.querySelector("#box .input-row");
    if (row && !row.querySelector(".camera") && navigator.mediaDevices) {
      row.querySelector(".textarea-wrapper").before(button("camera", word("camera"), takePicture));
    }
    attached().forEach((item, position) => {
      item.draggable = true;
      // Gradio's list item is in no list.
      item.parentElement.setAttribute("role", "group");
      const look = item.querySelector(".look") || item.appendChild(button("look", "", () => {}));
      const text = word("attached").replace("{number}", position + 1);
      if (look.getAttribute("aria-label") !== text) look.setAttribute("aria-label", text);
    });
  }
  // The server opens what was added while the visitor is still writing.
  function prepare() {
    const count = attached().length;
    const pressed = document.querySelector("#prepare");
    if (count > seen && pressed) pressed.click();
    seen = count;
  }
  ours.onChange(["#box"], () => { dress(); prepare(); });
})();
