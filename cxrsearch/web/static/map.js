// The embedding map: the index's images as dots, those with the chosen finding, the neighbours, and the query.
import { byId, colour, make, readable } from "./dom.js";

const canvas = document.querySelector("#map canvas"), MARGIN = 14, NEAR = 12;
let data = null, shown = { place: null, neighbours: [], finding: null }, open = () => {};

export function makeMap(found, text, heard) {
  data = found;
  open = heard;
  byId("map").hidden = false;
  byId("map-note").textContent = `${text} ${found.shown[0].toUpperCase()}${found.shown.slice(1)}. It flattens all but two directions: near here need not be near in the index. Click a dot to ask for its image.`;
  new ResizeObserver(draw).observe(canvas);
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

canvas.addEventListener("click", (event) => {
  const box = canvas.getBoundingClientRect(), [x, y] = [event.clientX - box.left, event.clientY - box.top];
  const places = [...shown.neighbours.map((image) => [image.row, image.place]), ...data.rows.map((row, number) => [row, data.places[number]])];
  const far = ([, place]) => { const [u, v] = at(place, box.width, box.height); return Math.hypot(u - x, v - y); };
  const nearest = places.reduce((best, next) => (far(next) < far(best) ? next : best));
  if (far(nearest) <= NEAR) open(nearest[0]);
});
