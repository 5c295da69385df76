// The grid of images: neighbours of a query, or the index to browse.
import { api } from "./api.js";
import { byId, factsOf, findingsOf, make, readable } from "./dom.js";

// Fill the grid with images; `chosen` is the finding that is marked, `open` is told which one was clicked.
export function fillGrid(images, { ranked, pixels, chosen, open, empty, clear }) {
  const grid = byId("grid");
  grid.ariaBusy = "false";
  if (!images.length) {
    const reset = make("button", { type: "button" }, "Clear the filters");
    reset.addEventListener("click", clear);
    grid.replaceChildren(make("li", { className: "empty" }, make("p", {}, empty), reset));
    return;
  }
  grid.replaceChildren(...images.map((image, place) => make("li", {}, card(image, place, { ranked, pixels, chosen, open }))));
}

export function waitingGrid(count) {
  const grid = byId("grid");
  grid.ariaBusy = "true";
  grid.replaceChildren(...Array.from({ length: count }, () => make("li", { ariaHidden: "true" }, make("div", { className: "card waiting" }, make("div", { className: "picture" }), make("div", { className: "text" })))));
}

export function mark(finding) {
  for (const card of document.querySelectorAll("#grid button.card")) emphasise(card, finding);
}

// Move the focus by some cards; says whether there was one.
export function moveFocus(step) {
  const cards = [...document.querySelectorAll("#grid button.card")], at = cards.indexOf(document.activeElement);
  const next = cards[at < 0 ? (step > 0 ? 0 : cards.length - 1) : Math.min(cards.length - 1, Math.max(0, at + step))];
  next?.focus();
  return Boolean(next);
}

function emphasise(card, finding) {
  const has = Boolean(finding) && card.image.findings?.includes(finding);
  card.classList.toggle("has", Boolean(has));
  const text = card.querySelector(".findings");
  if (!has) { text.textContent = findingsOf(card.image); return; }
  const parts = card.image.findings.map((name) => (name === finding ? make("mark", {}, readable(name)) : readable(name)));
  text.replaceChildren(...parts.flatMap((part, place) => (place ? [", ", part] : [part])));
}

function card(image, place, { ranked, pixels, chosen, open }) {
  const picture = make("div", { className: "picture" });
  if (pixels) {
    picture.append(make("img", { src: api.pixels(image.row), alt: "", loading: place < 12 ? "eager" : "lazy", width: 256, height: 256, decoding: "async" }));
  } else picture.append("image not available");
  if (ranked) picture.append(make("span", { className: "rank" }, String(place + 1)));
  const distance = ranked ? ` · distance ${image.distance.toPrecision(3)}` : "";
  const made = make("button", { type: "button", className: "card" }, picture, make("div", { className: "text" },
    make("span", { className: "findings" }), make("span", { className: "facts" }, factsOf(image)),
    ranked ? make("span", { className: "facts" }, `distance ${image.distance.toPrecision(3)}`) : null, make("span", { className: "name" }, image.image)));
  made.ariaLabel = `${ranked ? `Neighbour ${place + 1}: ` : ""}${findingsOf(image)}; ${factsOf(image)}${distance}; ${image.image}`;
  made.image = image;
  made.addEventListener("click", () => open(place));
  emphasise(made, chosen);
  return made;
}
