// Filters the cards by task, verdict and words; the choice stands in the address, so that it can be sent and reloaded.
const form = document.getElementById("filters");
const cards = [...document.querySelectorAll(".card")];
const texts = cards.map((card) => card.textContent.toLowerCase());

function filter() {
  const { task, verdict, words } = Object.fromEntries(new FormData(form));
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  cards.forEach((card, index) => {
    const fits = (!task || card.dataset.task === task) && (!verdict || card.dataset.verdict === verdict) && wanted.every((word) => texts[index].includes(word));
    card.hidden = !fits;
    count += fits;
  });
  document.getElementById("shown").textContent = `${count} of ${cards.length}`;
  document.getElementById("none").hidden = count > 0;
  const chosen = new URLSearchParams(Object.entries({ task, verdict, words }).filter(([, value]) => value)).toString();
  history.replaceState(null, "", chosen ? `#${chosen}` : location.pathname + location.search);
}

for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
  const field = form.elements.namedItem(name);
  if (field) field.value = value;
}
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
filter();
