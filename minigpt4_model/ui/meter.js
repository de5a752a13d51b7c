// The meter below the box counts what is not sent yet: pictures exactly, text by a guess of four letters a token, one for other scripts.
(() => {
  const guess = (text) => [...text].reduce((sum, letter) => sum + (letter.codePointAt(0) < 0x2e80 ? 0.25 : 1), 0);

  function measure() {
    const meter = document.querySelector("#meter .meter");
    if (!meter) return;
    const given = (name) => Number(meter.dataset[name]);
    const added = document.querySelectorAll("#box .thumbnail-item").length * given("imageTokens");
    const text = document.querySelector("#box textarea");
    const used = given("used") + added + Math.ceil(guess(text ? text.value : ""));
    const pictures = given("pictures") + added;
    const over = used > given("room") && given("used") > 0;
    const amount = [meter.dataset.sayUsed.replace("{used}", used.toLocaleString())];
    if (pictures) amount.push(meter.dataset.sayPictures.replace("{pictures}", pictures.toLocaleString()));
    if (over) amount.push(meter.dataset.sayOver);
    const shown = amount.join(" · ");
    const words = meter.querySelector(".amount");
    if (words.textContent !== shown) words.textContent = shown;
    meter.querySelector(".fill").style.width = Math.min(100, (100 * used) / given("length")) + "%";
    meter.classList.toggle("over", over);
    words.setAttribute("role", over ? "alert" : "note");
    meter.hidden = !(given("used") || added);
  }

  if (!window.minigpt4.measure) {
    window.minigpt4.measure = measure;
    document.addEventListener("input", (event) => event.target.closest("#box") && measure());
    window.minigpt4.onChange(["#box", "#meter"], measure);
  }
})();
