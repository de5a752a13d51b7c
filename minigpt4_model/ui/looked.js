// Draws what looked_panel.py found out about an answer. All texts are set as text, never as HTML.
const kinds = ["word", "all", "one"];
let chosen = null, weights = null, shown = { kind: "word", token: 0, fade: 0.7, raw: false };

const make = (name, about = {}, ...children) => {
  const node = Object.assign(document.createElement(name), about);
  node.append(...children);
  return node;
};
const percent = (share) => (share > 0 && share < 0.001 ? "<0.1 %" : (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %");
const say = (key, values = {}) => props.value.texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
const printable = (text) => text.replace(/\n/g, "↵").replace(/^ /, "") || "␣";

// The map over one picture: one number for each place. null where there is nothing to show.
const mapOf = (number) => {
  const picture = props.value.pictures[number];
  const maps = shown.raw ? picture.attention : picture.passedOn;
  let by;
  if (shown.kind === "one") by = maps.map((_, token) => (token === shown.token ? 1 : 0));
  else if (shown.kind === "all") by = maps.map(() => 1);
  else if (weights) by = weights[picture.index].map((weight) => Math.max(0, weight));
  else return null;
  const places = new Array(picture.rows * picture.columns).fill(0);
  maps.forEach((map, token) => map.forEach((share, place) => { places[place] += by[token] * share; }));
  return Math.max(...places) > 0 ? places : null;
};

const paint = (canvas, picture, places) => {
  canvas.width = picture.columns;
  canvas.height = picture.rows;
  const context = canvas.getContext("2d"), drawn = context.createImageData(picture.columns, picture.rows);
  const most = places ? Math.max(...places) : 1;
  (places || []).forEach((share, place) => {
    const heat = share / most;
    // From clear over yellow to red.
    drawn.data.set([255, Math.round(230 * (1 - heat)), 0, Math.round(235 * Math.pow(heat, 0.8))], 4 * place);
  });
  context.putImageData(drawn, 0, 0);
};

const redraw = () => {
  const root = element.querySelector(".looked");
  root.querySelectorAll("canvas").forEach((canvas, number) => {
    paint(canvas, props.value.pictures[number], mapOf(number));
    canvas.style.opacity = shown.fade;
  });
  root.querySelectorAll(".word").forEach((button) => button.setAttribute("aria-pressed", String(button.first === chosen?.first)));
  const note = root.querySelector(".map-note");
  if (!note) return;
  const first = props.value.pictures[0];
  if (shown.kind === "word" && !chosen) note.textContent = say("choose");
  else if (shown.kind === "word" && !weights) note.textContent = say("weighing");
  else if (shown.kind === "word" && !props.value.pictures.some((_, number) => mapOf(number))) note.textContent = say("against");
  else if (!first.reads) note.textContent = say("no-qformer", first);
  else note.textContent = say("grid", { ...first, share: percent(first.elsewhere) });
};

const details = () => {
  const box = element.querySelector(".details");
  box.replaceChildren();
  if (!chosen) return;
  for (const token of props.value.tokens.slice(chosen.first, chosen.end)) {
    if (!token.text) continue;
    const rows = token.top.map(([text, share]) => {
      const own = text === token.text || text.trim() === token.text.trim();
      return make("tr", { className: own ? "own" : "" }, make("td", { textContent: printable(text) }), make("td", { textContent: percent(share) }));
    });
    box.append(make("h3", { textContent: say("likely", { word: printable(token.text), probability: percent(token.seen) }) }));
    box.append(make("table", {}, make("caption", { textContent: say("alternatives") }), make("tbody", {}, ...rows)));
    if (token.blind !== null) {
      const others = token.blindTop.map(([text, share]) => `${printable(text)} ${percent(share)}`).join(", ");
      box.append(make("p", { textContent: say(props.value.without === "blank" ? "blind-blank" : "blind-none", { probability: percent(token.blind), blind: others }) }));
    }
  }
};

const choose = (word) => {
  chosen = word;
  weights = null;
  if (props.value.pictures.length) {
    shown.kind = "word";
    const pick = element.querySelector(".kind");
    if (pick) pick.value = "word";
    trigger("select", { first: word.first, end: word.end });
  }
  details();
  redraw();
};

const controls = () => {
  const picture = props.value.pictures[0];
  const offered = picture.reads ? kinds : kinds.filter((kind) => kind !== "all");
  const kind = make("select", { className: "kind", onchange: () => { shown.kind = kind.value; number.hidden = kind.value !== "one"; redraw(); } },
    ...offered.map((name) => make("option", { value: name, textContent: say("kind-" + name), selected: name === shown.kind })));
  const token = make("input", { type: "range", min: 1, max: picture.attention.length, value: shown.token + 1, oninput: () => {
    shown.token = token.value - 1;
    told.textContent = token.value;
    redraw();
  } });
  const told = make("span", { textContent: String(shown.token + 1) });
  const number = make("label", { hidden: shown.kind !== "one" }, say("token") + " ", told, token);
  const fade = make("input", { type: "range", className: "fade", min: 0, max: 100, value: 100 * shown.fade, oninput: () => { shown.fade = fade.value / 100; redraw(); } });
  const raw = make("input", { type: "checkbox", checked: shown.raw, onchange: () => { shown.raw = raw.checked; redraw(); } });
  const parts = [make("label", {}, say("kind"), kind), number, make("label", {}, say("fade"), fade)];
  if (picture.reads) parts.push(make("label", { className: "check" }, raw, say("raw")));
  return make("div", { className: "controls" }, ...parts);
};

const build = () => {
  chosen = weights = null;
  shown.token = 0;
  const root = element.querySelector(".looked"), value = props.value;
  root.replaceChildren();
  if (!value) return;
  if (value.fault) {
    root.append(make("p", { className: "warning", role: "alert", textContent: value.fault }));
    return;
  }
  const words = make("p", { className: "words" });
  for (const word of value.words) {
    if (!word.text.trim()) { words.append(word.text); continue; }
    if (word.text.startsWith(" ")) words.append(" ");
    const button = make("button", { type: "button", className: word.habit ? "word habit" : "word", first: word.first, onclick: () => choose(word) }, word.text.trim());
    if (word.habit) button.append(make("span", { className: "unseen", textContent: " (" + say("habit") + ")" }));
    words.append(button);
  }
  root.append(words);
  if (value.words.some((word) => word.habit)) root.append(make("p", { className: "note legend", textContent: say("habit-note") }));
  root.append(make("div", { className: "details" }));
  root.lastChild.setAttribute("aria-live", "polite");
  if (!value.pictures.length) {
    root.append(make("p", { className: "note", textContent: say("no-picture") }));
    return;
  }
  root.append(controls());
  value.pictures.forEach((picture, number) => {
    const name = say("picture", { number: number + 1 }) + (picture.part ? ", " + picture.part : "");
    const canvas = make("canvas", {});
    canvas.setAttribute("aria-hidden", "true");
    root.append(make("figure", {}, make("img", { src: picture.address, alt: name }), canvas));
  });
  root.append(make("p", { className: "note map-note" }), make("p", { className: "note proof", textContent: say("no-proof") }));
  root.querySelector(".map-note").setAttribute("role", "status");
  redraw();
};

document.addEventListener("weighed", (event) => {
  const found = event.detail;
  if (!found || !chosen || found.first !== chosen.first) return;
  weights = found.pictures ?? null;
  redraw();
  if (found.fault) element.querySelector(".map-note").textContent = found.fault;
});
watch("value", build);
build();
