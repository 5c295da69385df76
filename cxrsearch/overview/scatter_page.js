// The script of scatter_page.html, which scatter_page.py puts into it.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const words = (text) => new Uint16Array(bytes(text).buffer);

// Everything of an image, by its number. Images come in an order that chance gave: none is on top for a reason.
const n = data.images.length;
const across = Float32Array.from(words(data.across), (value) => value / 65535);
const up = Float32Array.from(words(data.up), (value) => value / 65535);
const ages = bytes(data.ages), views = bytes(data.views);
const flags = data.findings ? bytes(data.findings.flags) : null;
const flagBytes = data.findings ? Math.ceil(data.findings.names.length / 8) : 0;
for (const colouring of data.colourings) {
  colouring.codes = bytes(colouring.codes);
  colouring.shown = colouring.classes.map(() => true);
}
const has = (image, finding) => (flags[image * flagBytes + (finding >> 3)] >> (finding & 7)) & 1;
const findingsOf = (image) => data.findings.names.filter((_, finding) => has(image, finding));
const none = data.findings ? data.findings.names.length : -1; // the highlight that stands for No Finding
const inHighlight = (image, finding) => (finding === none ? !findingsOf(image).length : has(image, finding));

const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [1, 0]);
const [left, right] = extent(across), [bottom, top_] = extent(up);
const middle = [(left + right) / 2, (bottom + top_) / 2];
const span = Math.max(right - left, top_ - bottom) || 1;
const CLOSEST = 64;

let colouring = data.colourings[0], highlight = data.findings ? data.findings.highlight : null;
let shade = new Uint8Array(n), layers = []; // shade: a colour's number, or HIDDEN
const HIDDEN = 255, LAYERS = 12;
let zoom = 1, centre = [...middle], hovered = -1, byKey = false;
const dots = element("dots"), rings = element("rings"), map = element("map"), card = element("card");
const pen = dots.getContext("2d", { alpha: false }), ringPen = rings.getContext("2d");
let width = 1, height = 1, ratio = 1;

// Which colour an image has, and in which order colours are drawn.
function sort() {
  const classes = colouring.classes.length, accent = classes, quiet = classes + 1;
  const colours = [...colouring.colours, data.accent, data.quiet];
  const under = [...colouring.quiet, false, true];
  let shownCount = 0, chosen = 0;
  for (let image = 0; image < n; image++) {
    const code = colouring.codes[image];
    if (!colouring.shown[code]) { shade[image] = HIDDEN; continue; }
    shownCount++;
    const stands = highlight !== null && inHighlight(image, highlight);
    chosen += stands;
    shade[image] = highlight === null ? code : !stands ? quiet : colouring.name === "finding" ? accent : code;
  }
  const buckets = new Map(); // quiet ones first, then the others a layer at a time, so that no colour covers another
  for (let image = 0; image < n; image++) {
    if (shade[image] === HIDDEN) continue;
    const key = under[shade[image]] ? shade[image] : (1 + Math.floor((image * LAYERS) / n)) * 256 + shade[image];
    if (!buckets.has(key)) buckets.set(key, []);
    buckets.get(key).push(image);
  }
  layers = [...buckets].sort(([one], [other]) => one - other)
    .map(([key, images]) => ({ colour: colours[key % 256], images: Uint32Array.from(images) }));
  const [some, most, few] = [shownCount, n, chosen].map((count) => count.toLocaleString("en"));
  element("shown").textContent = `${some} of ${most} images shown` + (highlight === null ? "" : `, ${few} highlighted`);
  if (hovered >= 0 && shade[hovered] === HIDDEN) point(-1);
  redraw();
}

const scale = () => (Math.min(width, height) * 0.94 * zoom) / span;
const place = (image) => [
  width / 2 + (across[image] - centre[0]) * scale(), height / 2 - (up[image] - centre[1]) * scale(),
];
function diameter() {
  const side = Math.min(width, height);
  return Math.min(Math.max(Math.sqrt((0.6 * side * side) / n), 1.5) * Math.sqrt(zoom), 9);
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; draw(); });
}

// The canvas's own drawing takes several times as long for so many dots, so their pixels are mixed here, in 256ths.
const rgb = (colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16));
let frame = null, disc = new Uint16Array(0);

function draw() {
  const wide = dots.width, high = dots.height;
  if (!frame || frame.width !== wide || frame.height !== high) frame = pen.createImageData(wide, high);
  const field = new Uint8Array(frame.data.buffer), panel = rgb(data.panel);
  new Uint32Array(frame.data.buffer).fill(((255 << 24) | (panel[2] << 16) | (panel[1] << 8) | panel[0]) >>> 0);
  const side = Math.max(1, Math.round(diameter() * ratio)), by = scale() * ratio;
  if (disc.length !== side * side) disc = discOf(side);
  const x0 = wide / 2 - centre[0] * by - side / 2, y0 = high / 2 + centre[1] * by - side / 2;
  for (const { colour, images } of layers) {
    const ink = rgb(colour), red = ink[0], green = ink[1], blue = ink[2];
    for (let index = 0; index < images.length; index++) {
      const column = Math.round(x0 + across[images[index]] * by), row = Math.round(y0 - up[images[index]] * by);
      if (column < 0 || row < 0 || column + side > wide || row + side > high) continue;
      for (let down = 0, part = 0; down < side; down++) {
        let at = ((row + down) * wide + column) * 4;
        for (let over = 0; over < side; over++, part++, at += 4) {
          const share = disc[part];
          field[at] += ((red - field[at]) * share) >> 8;
          field[at + 1] += ((green - field[at + 1]) * share) >> 8;
          field[at + 2] += ((blue - field[at + 2]) * share) >> 8;
        }
      }
    }
  }
  pen.putImageData(frame, 0, 0);
  ring();
}

// How opaque each pixel of a dot is, in 256ths: as much of it as the disc covers, times the opacity of dots.
function discOf(side) {
  const fine = 4, radius = side / 2, opacity = n < 5000 ? 0.85 : 0.6, counts = new Float32Array(side * side);
  for (let down = 0; down < side * fine; down++) {
    for (let over = 0; over < side * fine; over++) {
      const apart = Math.hypot((over + 0.5) / fine - radius, (down + 0.5) / fine - radius);
      if (apart <= radius || side < 3) counts[Math.floor(down / fine) * side + Math.floor(over / fine)]++;
    }
  }
  return Uint16Array.from(counts, (count) => (256 * opacity * count) / fine ** 2);
}

function ring() {
  ringPen.setTransform(ratio, 0, 0, ratio, 0, 0);
  ringPen.clearRect(0, 0, width, height);
  ringPen.strokeStyle = data.accent;
  ringPen.lineWidth = 2;
  if (hovered >= 0) {
    const [x, y] = place(hovered);
    ringPen.beginPath();
    ringPen.arc(x, y, diameter() / 2 + 4, 0, 2 * Math.PI);
    ringPen.stroke();
    settle(x, y);
  }
  if (byKey) {
    ringPen.strokeStyle = data.ink;
    ringPen.lineWidth = 1;
    ringPen.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      ringPen.moveTo(width / 2 + 14 * dx, height / 2 + 14 * dy);
      ringPen.lineTo(width / 2 + 24 * dx, height / 2 + 24 * dy);
    }
    ringPen.stroke();
  }
}

// The nearest image to a place, through a grid of cells over the map.
const CELLS = 128, first = new Uint32Array(CELLS * CELLS + 1), inCells = new Uint32Array(n);
const cell = (value) => Math.min(CELLS - 1, Math.max(0, Math.floor(value * CELLS)));
const cellOf = (image) => cell(up[image]) * CELLS + cell(across[image]);
for (let image = 0; image < n; image++) first[cellOf(image) + 1]++;
for (let at = 0; at < CELLS * CELLS; at++) first[at + 1] += first[at];
const next = first.slice();
for (let image = 0; image < n; image++) inCells[next[cellOf(image)]++] = image;

function nearest(x, y, reach) {
  const by = scale(), a = centre[0] + (x - width / 2) / by, b = centre[1] - (y - height / 2) / by, far = reach / by;
  let best = -1, least = far * far;
  for (let row = cell(b - far); row <= cell(b + far); row++) {
    for (let at = first[row * CELLS + cell(a - far)]; at < first[row * CELLS + cell(a + far) + 1]; at++) {
      const image = inCells[at], distance = (across[image] - a) ** 2 + (up[image] - b) ** 2;
      if (distance < least && shade[image] !== HIDDEN) { best = image; least = distance; }
    }
  }
  return best;
}

function describe(image) {
  const age = ages[image] === 255 ? "age unknown" : `${ages[image]} years`;
  const view = ["PA", "AP"][views[image]] || "view unknown";
  const findings = data.findings ? findingsOf(image).join(", ") || "No Finding" : "findings unknown";
  const lines = [data.images[image], findings, `${view}, ${age}`];
  const novelty = data.colourings.find(({ name }) => name === "novelty");
  return novelty ? [...lines, `Novelty: ${novelty.classes[novelty.codes[image]]}`] : lines;
}

const pictures = data.pictures ? new Image() : null;
if (pictures) { pictures.onload = () => point(hovered); pictures.src = data.pictures.source; }

function point(image) {
  hovered = image;
  card.hidden = image < 0;
  if (image >= 0) {
    const lines = describe(image).map((line) => Object.assign(document.createElement("p"), { textContent: line }));
    card.replaceChildren(...picture(image), ...lines);
  }
  ring();
}

function picture(image) {
  if (!pictures || image >= data.pictures.count || !pictures.complete) return [];
  const { side, columns } = data.pictures, thumbnail = document.createElement("canvas");
  thumbnail.width = thumbnail.height = side;
  thumbnail.style.width = thumbnail.style.height = `${side * 1.5}px`;
  const from = [(image % columns) * side, Math.floor(image / columns) * side];
  thumbnail.getContext("2d").drawImage(pictures, ...from, side, side, 0, 0, side, side);
  return [thumbnail];
}

function settle(x, y) {
  const beside = x + 16 + card.offsetWidth < width ? x + 16 : x - 16 - card.offsetWidth;
  const below = Math.min(y + 16, height - card.offsetHeight - 4);
  card.style.transform = `translate(${Math.max(4, beside)}px, ${Math.max(4, below)}px)`;
}

function zoomBy(factor, x = width / 2, y = height / 2) {
  const before = scale();
  zoom = Math.min(CLOSEST, Math.max(1, zoom * factor));
  const shift = 1 / before - 1 / scale();
  moveTo(centre[0] + (x - width / 2) * shift, centre[1] - (y - height / 2) * shift);
}

function moveTo(a, b) {
  centre = [Math.min(right, Math.max(left, a)), Math.min(top_, Math.max(bottom, b))];
  redraw();
}

function whole() { zoom = 1; moveTo(...middle); }

// Pointers: one hovers or drags, two pinch.
const held = new Map();
const spread = () => { const [p, q] = [...held.values()]; return Math.hypot(p[0] - q[0], p[1] - q[1]); };
const at = (event) => { const box = dots.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
dots.addEventListener("pointerdown", (event) => {
  held.set(event.pointerId, at(event));
  dots.setPointerCapture(event.pointerId);
});
dots.addEventListener("pointermove", (event) => {
  const [x, y] = at(event);
  byKey = false;
  if (!held.has(event.pointerId)) { point(nearest(x, y, 14)); return; }
  const before = held.get(event.pointerId), apart = held.size === 2 ? spread() : 0;
  held.set(event.pointerId, [x, y]);
  if (held.size === 2) zoomBy(spread() / (apart || 1), x, y);
  else {
    dots.classList.add("dragged");
    moveTo(centre[0] - (x - before[0]) / scale(), centre[1] + (y - before[1]) / scale());
  }
});
for (const name of ["pointerup", "pointercancel"]) {
  dots.addEventListener(name, (event) => {
    held.delete(event.pointerId);
    dots.classList.remove("dragged");
    point(nearest(...at(event), 14));
  });
}
dots.addEventListener("pointerleave", () => { if (!byKey) point(-1); });
dots.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...at(event));
}, { passive: false });

// Keys: the image nearest to the centre is shown, and told to a screen reader.
const STEP = 60;
const keys = {
  ArrowLeft: () => moveTo(centre[0] - STEP / scale(), centre[1]),
  ArrowRight: () => moveTo(centre[0] + STEP / scale(), centre[1]),
  ArrowUp: () => moveTo(centre[0], centre[1] + STEP / scale()),
  ArrowDown: () => moveTo(centre[0], centre[1] - STEP / scale()),
  "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: whole, Home: whole,
};
dots.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") { byKey = false; point(-1); return; }
  if (!Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  byKey = true;
  keys[event.key]();
  point(nearest(width / 2, height / 2, Math.min(width, height) / 2));
  element("described").textContent = hovered < 0 ? "No image here" : describe(hovered).join("; ");
});
dots.addEventListener("blur", () => { byKey = false; point(-1); });
element("in").onclick = () => zoomBy(1.5);
element("out").onclick = () => zoomBy(1 / 1.5);
element("whole").onclick = whole;

// The legend, which filters.
const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
function legend() {
  const plain = highlight !== null && colouring.name === "finding";
  element("heading").textContent = colouring.title;
  element("classes").replaceChildren(...colouring.classes.map((name, code) => {
    const label = document.createElement("label"), box = document.createElement("input");
    const swatch = document.createElement("i"), text = document.createElement("b"), count = document.createElement("span");
    Object.assign(box, { type: "checkbox", checked: colouring.shown[code] });
    box.onchange = () => { colouring.shown[code] = box.checked; sort(); };
    swatch.style.background = plain ? data.quiet : colouring.colours[code];
    text.textContent = name;
    text.style.fontWeight = "400";
    count.textContent = colouring.counts[code].toLocaleString("en");
    label.append(box, swatch, text, count);
    return label;
  }));
  sort();
}
function showAll(shown) { colouring.shown.fill(shown); legend(); }
element("all").onclick = () => showAll(true);
element("none").onclick = () => showAll(false);
element("colour").append(...data.colourings.map(({ name }, number) => option(number, name)));
element("colour").onchange = (event) => { colouring = data.colourings[event.target.value]; legend(); };
element("finding").hidden = !data.findings;
if (data.findings) {
  element("highlight").append(option("", "nothing"), ...data.findings.names.map((name, finding) => option(finding, name)));
  element("highlight").append(option(none, "No Finding"));
  element("highlight").value = highlight === null ? "" : highlight;
  element("highlight").onchange = (event) => {
    highlight = event.target.value === "" ? null : Number(event.target.value);
    legend();
  };
}
element("pictures").textContent = data.pictures_note;

new ResizeObserver(() => {
  ratio = window.devicePixelRatio || 1;
  width = map.clientWidth;
  height = map.clientHeight;
  for (const canvas of [dots, rings]) { canvas.width = width * ratio; canvas.height = height * ratio; }
  draw();
}).observe(map);
legend();
