// A query and a neighbour side by side: both zoom and move together, and heat maps show where they are alike.
import { api, picture } from "./api.js";
import { byId, factsOf, findingsOf, say } from "./dom.js";
import { average, highest, painted, scale } from "./heat.js";
import { Pane, View, controls } from "./viewer.js";

const dialog = byId("compare"), figures = dialog.querySelectorAll("figure");
const view = new View(), panes = [...figures].map((figure) => new Pane(figure.querySelector("canvas"), view));
let query = null, images = [], at = 0, maps = null, turn = 0;
controls(dialog.querySelector(".levels"), view);

// `asked`: {blob, source, name, stored (Blob or null), row (or null)}; `ask` is told the row of an image to ask for.
export async function compare(asked, neighbours, place, ask) {
  query = asked;
  images = neighbours;
  byId("ask-neighbour").onclick = () => { dialog.close(); ask(images[at]); };
  view.reset();
  scale(byId("alike-scale"));
  dialog.showModal();
  caption(0, "Query", query.name, query.source);
  await Promise.all([panes[0].show(query.blob), go(place)]);
}

export const isComparing = () => dialog.open;

export async function go(place) {
  if (place < 0 || place >= images.length) return;
  at = place;
  const image = images[at], own = ++turn;
  byId("nearer").disabled = at === 0;
  byId("farther").disabled = at === images.length - 1;
  byId("compare-title").textContent = `Neighbour ${at + 1} of ${images.length}: ${findingsOf(image)}`;
  say(`Neighbour ${at + 1}: ${findingsOf(image)}, ${factsOf(image)}, distance ${image.distance.toPrecision(3)}`);
  maps = null;
  heat();
  byId("alike-note").textContent = "Comparing …";
  caption(1, `Neighbour ${at + 1}`, `${findingsOf(image)} · ${factsOf(image)} · distance ${image.distance.toPrecision(3)}`, "loading …");
  const [shown, found] = await Promise.allSettled([picture(image), alike(image)]);
  if (own !== turn) return; // another neighbour was chosen meanwhile
  if (shown.status === "fulfilled") await panes[1].show(shown.value.blob);
  else await panes[1].show(null);
  const source = shown.status === "fulfilled" ? shown.value.source : `not available: ${shown.reason.message}`;
  caption(1, `Neighbour ${at + 1}`, `${findingsOf(image)} · ${factsOf(image)} · distance ${image.distance.toPrecision(3)} · patient ${image.patient} · ${image.image}`, source);
  maps = found.status === "fulfilled" ? found.value : null;
  byId("alike-note").textContent = maps ? "Heat maps: what each cell adds to the product of the two embeddings." : `No heat map: ${found.reason.message}`;
  heat();
}

export const step = (by) => go(at + by);

export function toggleAlike() {
  byId("alike").checked = !byId("alike").checked;
  heat();
}

function alike(image) {
  if (query.row !== null) return api.similarityRow(query.row, image.row);
  if (!query.stored) throw new Error("the index keeps no pixels");
  return api.similarity(query.stored, image.row);
}

function heat() {
  // Embeddings are not negative, so every cell adds to their product: only what is above the even share is coloured.
  const most = maps ? Math.max(highest(maps.query), highest(maps.neighbour)) : 0, least = maps ? average(maps.query) : 0;
  const shown = maps && byId("alike").checked, opacity = Number(byId("alike-opacity").value) / 100;
  panes[0].heat(shown ? painted(maps.query, most, least) : null, opacity);
  panes[1].heat(shown ? painted(maps.neighbour, most, least) : null, opacity);
  byId("alike-low").textContent = maps ? "even share" : "";
  byId("alike-high").textContent = maps ? `${(most / least).toFixed(1)} times it` : "";
}

function caption(pane, who, text, source) {
  const strong = document.createElement("strong");
  strong.textContent = `${who}: `;
  figures[pane].querySelector("figcaption").replaceChildren(strong, text, document.createElement("br"), `Shown: ${source}`);
  figures[pane].querySelector("canvas").ariaLabel = `${who}: ${text}`;
}

byId("alike").addEventListener("change", heat);
byId("alike-opacity").addEventListener("input", heat);
byId("nearer").addEventListener("click", () => step(-1));
byId("farther").addEventListener("click", () => step(1));
byId("close-compare").addEventListener("click", () => dialog.close());
