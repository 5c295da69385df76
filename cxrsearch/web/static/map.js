// The embedding map: the index's images as dots, those with the chosen finding, the neighbours, and the query.
import { byId, colour, findingsOf, make, readable } from "./dom.js";

const canvas = document.querySelector("#map canvas"), MARGIN = 14, NEAR = 12;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
// `dots`: as images are, {row, image, findings, place}; `reached`, the one that the keyboard is at.
let data = null, dots = [], reached = null, shown = { place: null, neighbours: [], finding: null }, open = () => {};

export function makeMap(found, text, heard) {
  data = found;
  dots = dotsOf(found);
  open = heard;
  byId("map").hidden = false;
  byId("map-note").textContent = `${text} ${found.shown[0].toUpperCase()}${found.shown.slice(1)}. It keeps two directions only: images that are near here may be far apart in the index. Click a dot to query with its image. With the keyboard, arrows move from dot to dot, and Enter queries.`;
  new ResizeObserver(draw).observe(canvas);
}

function dotsOf({ rows, images, places, with: having }) {
  const known = Object.entries(having).map(([finding, numbers]) => [finding, new Set(numbers)]);
  const findings = (number) => known.filter(([, numbers]) => numbers.has(number)).map(([finding]) => finding);
  const recorded = (number) => { const found = findings(number); return found.length ? found : ["No Finding"]; };
  return rows.map((row, number) => ({ row, image: images[number], place: places[number], findings: known.length ? recorded(number) : null }));
}

export function showOnMap(place, neighbours, finding) {
  shown = { place, neighbours: neighbours.filter((image) => image.place), finding };
  draw();
}

// Coordinates of a place on the canvas; a query that lies outside is held at the edge.
function at([x, y], width, height) {
  const scaled = (value, side) => MARGIN + Math.min(1.02, Math.max(-0.02, value)) * (side - 2 * MARGIN);
  return [scaled(x, width), height - scaled(y, height)];
}

function dot(pen, [x, y], radius, fill, ring) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) { pen.fillStyle = fill; pen.fill(); }
  if (ring) { pen.strokeStyle = ring; pen.lineWidth = 2; pen.stroke(); }
}

export function draw() {
  if (!data) return;
  const ratio = devicePixelRatio || 1, box = canvas.getBoundingClientRect();
  const [width, height] = [box.width, box.height];
  Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const having = new Set(data.with[shown.finding] ?? []);
  pen.globalAlpha = 0.75;
  data.places.forEach((place, number) => { if (!having.has(number)) dot(pen, at(place, width, height), 2.5, colour("quiet")); });
  pen.globalAlpha = 1;
  for (const number of having) dot(pen, at(data.places[number], width, height), 3.5, colour("vote"));
  for (const image of shown.neighbours) dot(pen, at(image.place, width, height), 5, null, colour("ink"));
  if (shown.place) dot(pen, at(shown.place, width, height), 7, colour("accent"), colour("background"));
  if (reached) dot(pen, at(reached.place, width, height), 10, null, colour("ink"));
  keys();
}

function keys() {
  const key = (text, fill, ring) => {
    const mark = make("i");
    if (fill) mark.style.background = fill; else mark.style.border = `2px solid ${ring}`;
    return make("span", {}, mark, text);
  };
  byId("map-keys").replaceChildren(...[
    shown.place && key("your image", colour("accent")), shown.neighbours.length && key("neighbours", null, colour("ink")),
    shown.finding && data.with[shown.finding] && key(readable(shown.finding), colour("vote")), key(shown.place ? "other images" : "images", colour("quiet")),
  ].filter(Boolean));
}

// The nearest image by `far`, a distance or Infinity: one of the dots, or a neighbour, which may have no dot.
function nearest(far) {
  const near = new Set(shown.neighbours.map((image) => image.row));
  const all = [...shown.neighbours, ...dots.filter(({ row }) => !near.has(row))].sort((one, other) => one.row - other.row);
  let least = Infinity, found = null;
  for (const target of all) {
    const distance = far(target);
    if (distance < least) [least, found] = [distance, target];
  }
  return found;
}

// The nearest image in the quarter of the embedding map that an arrow points to; images in one place count as side by side.
function towards([right, up]) {
  const { row, place: [x, y] } = reached;
  return nearest((target) => {
    const [u, v] = [target.place[0] - x, target.place[1] - y], along = u * right + v * up, across = Math.abs(u * up) + Math.abs(v * right);
    const ahead = u || v ? along >= across : right * (target.row - row) > 0;
    return ahead ? Math.hypot(u, v) : Infinity;
  });
}

function reach(target) {
  reached = target;
  byId("map-dot").textContent = target ? `${findingsOf(target)} · ${target.image}` : "";
  draw();
}

function begin() {
  const [x, y] = shown.place ?? [0.5, 0.5];
  reach(nearest(({ place: [u, v] }) => Math.hypot(u - x, v - y)));
}

function ask({ row }) {
  canvas.blur(); // reading goes on at the answer
  open(row);
}

canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const far = ({ place }) => { const [u, v] = at(place, box.width, box.height); return Math.hypot(u - x, v - y); };
  const clicked = nearest((target) => (far(target) <= NEAR ? far(target) : Infinity));
  if (clicked) ask(clicked);
});
canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) begin(); });
canvas.addEventListener("blur", () => reach(null));
canvas.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || !(arrow || event.key === "Enter")) return;
  event.preventDefault();
  event.stopPropagation(); // elsewhere, arrows move from case to case
  if (!reached) begin();
  else if (arrow) reach(towards(arrow) ?? reached);
  else ask(reached);
});
