// Heat maps of few cells as colour: values are interpolated first and then coloured, on one scale from dark to light.
import { colour } from "./dom.js";

const STEPS = 5, SIDE = 160;
let table = null;

function channels(hex) { return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)); }

function colours() {
  if (table) return table;
  const stops = Array.from({ length: STEPS }, (_, step) => channels(colour(`heat-${step}`)));
  table = Array.from({ length: 256 }, (_, level) => {
    const at = level / 255 * (STEPS - 1), low = Math.min(STEPS - 2, Math.floor(at)), part = at - low;
    return stops[low].map((value, channel) => Math.round(value + part * (stops[low + 1][channel] - value)));
  });
  return table;
}

export const highest = (values) => Math.max(...values.flat());

function interpolated(values, y, x) {
  const rows = values.length, columns = values[0].length;
  const at = (place, count) => Math.min(count - 1, Math.max(0, place * count - 0.5));
  const [v, u] = [at(y, rows), at(x, columns)];
  const [top, left] = [Math.floor(v), Math.floor(u)];
  const [bottom, right] = [Math.min(rows - 1, top + 1), Math.min(columns - 1, left + 1)];
  const [down, across] = [v - top, u - left];
  const upper = values[top][left] * (1 - across) + values[top][right] * across;
  const lower = values[bottom][left] * (1 - across) + values[bottom][right] * across;
  return upper * (1 - down) + lower * down;
}

export const average = (values) => values.flat().reduce((sum, value) => sum + value, 0) / values.flat().length;

// A canvas of a heat map, (h, w) numbers, coloured from `least` to `most`; lower values stay transparent.
export function painted(values, most, least = 0) {
  const canvas = new OffscreenCanvas(SIDE, SIDE), pen = canvas.getContext("2d"), image = pen.createImageData(SIDE, SIDE);
  const tints = colours();
  for (let y = 0; y < SIDE; y++) for (let x = 0; x < SIDE; x++) {
    const value = interpolated(values, (y + 0.5) / SIDE, (x + 0.5) / SIDE);
    const share = most > least ? Math.min(1, Math.max(0, (value - least) / (most - least))) : 0;
    const [red, green, blue] = tints[Math.round(255 * share)];
    image.data.set([red, green, blue, Math.round(255 * share)], 4 * (y * SIDE + x));
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

export function scale(canvas) {
  const pen = canvas.getContext("2d"), tints = colours();
  for (let x = 0; x < canvas.width; x++) {
    pen.fillStyle = `rgb(${tints[Math.round(255 * x / (canvas.width - 1))].join(" ")})`;
    pen.fillRect(x, 0, 1, canvas.height);
  }
}
