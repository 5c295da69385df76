// Looking at images: zoom, pan, window and level, in one or several panes that share a view.
import { make } from "./dom.js";

const MOST = 12;
const START = { zoom: 1, x: 0.5, y: 0.5, window: 255, level: 127.5 };
const within = (low, value, high) => Math.min(high, Math.max(low, value));

// What all panes of a view show: a zoom, the place of the image in the middle (0 to 1), and grey levels.
export class View extends EventTarget {
  constructor() { super(); Object.assign(this, START); }

  set(values) {
    Object.assign(this, values);
    this.zoom = within(1, this.zoom, MOST);
    const room = 0.5 / this.zoom;
    this.x = this.zoom === 1 ? 0.5 : within(Math.min(0.5, room), this.x, Math.max(0.5, 1 - room));
    this.y = this.zoom === 1 ? 0.5 : within(Math.min(0.5, room), this.y, Math.max(0.5, 1 - room));
    this.window = within(2, this.window, 512);
    this.level = within(0, this.level, 255);
    this.dispatchEvent(new Event("change"));
  }

  reset() { this.set(START); }
}

export class Pane {
  constructor(canvas, view) {
    Object.assign(this, { canvas, view, grey: null, image: null, map: null, opacity: 0.5, levels: "", held: new Map(), turn: 0 });
    view.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.listen();
  }

  // Show an image, a Blob; null shows nothing.
  async show(blob) {
    const own = ++this.turn;
    this.map = null;
    this.image = null;
    if (blob) {
      const bitmap = await createImageBitmap(blob);
      if (own !== this.turn) return; // another one is shown meanwhile
      this.image = new OffscreenCanvas(bitmap.width, bitmap.height);
      const pen = this.image.getContext("2d", { willReadFrequently: true });
      pen.drawImage(bitmap, 0, 0);
      this.pixels = pen.getImageData(0, 0, bitmap.width, bitmap.height);
      this.grey = this.pixels.data.filter((_, place) => place % 4 === 0);
      this.levels = "";
    }
    this.draw();
  }

  heat(map, opacity) { Object.assign(this, { map, opacity }); this.draw(); }

  // Window and level, as a table of 256 greys.
  window() {
    const { window, level } = this.view, wanted = `${window} ${level}`;
    if (wanted === this.levels) return;
    const greys = Uint8ClampedArray.from({ length: 256 }, (_, grey) => 255 * ((grey - level) / window + 0.5));
    const data = this.pixels.data;
    for (let place = 0; place < this.grey.length; place++) {
      const grey = greys[this.grey[place]];
      data[4 * place] = data[4 * place + 1] = data[4 * place + 2] = grey;
    }
    this.image.getContext("2d").putImageData(this.pixels, 0, 0);
    this.levels = wanted;
  }

  // Where the image lies on the canvas: left, top, width, height.
  place() {
    const { width, height } = this.canvas, { zoom, x, y } = this.view;
    const scale = zoom * Math.min(width / this.image.width, height / this.image.height);
    const [across, down] = [scale * this.image.width, scale * this.image.height];
    return [width / 2 - x * across, height / 2 - y * down, across, down];
  }

  draw() {
    const box = this.canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    this.canvas.classList.toggle("zoomed", this.view.zoom > 1);
    if (!this.image) return;
    this.window();
    pen.imageSmoothingQuality = "high";
    pen.drawImage(this.image, ...this.place());
    if (this.map) {
      pen.globalAlpha = this.opacity;
      pen.drawImage(this.map, ...this.place());
      pen.globalAlpha = 1;
    }
  }

  // Zoom so that the place under a point of the page stays where it is.
  zoomAt(clientX, clientY, zoom) {
    if (!this.image) return;
    const box = this.canvas.getBoundingClientRect(), ratio = this.canvas.width / box.width;
    const [left, top, across, down] = this.place();
    const [u, v] = [(ratio * (clientX - box.left) - left) / across, (ratio * (clientY - box.top) - top) / down];
    const changed = within(1, zoom, MOST) / this.view.zoom;
    this.view.set({ zoom, x: u + (this.view.x - u) / changed, y: v + (this.view.y - v) / changed });
  }

  moved(event) {
    const last = this.held.get(event.pointerId);
    if (!last || !this.image) return;
    this.held.set(event.pointerId, event);
    const [right, down] = [event.clientX - last.clientX, event.clientY - last.clientY];
    if (this.held.size === 2) {
      const [one, other] = [...this.held.values()];
      const spread = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
      const still = event === one ? other : one;
      this.zoomAt((one.clientX + other.clientX) / 2, (one.clientY + other.clientY) / 2, this.view.zoom * spread(event, still) / (spread(last, still) || 1));
    } else if (event.shiftKey || event.buttons === 2) {
      this.view.set({ window: this.view.window + right, level: this.view.level - down });
    } else {
      const [, , across, height] = this.place(), ratio = this.canvas.width / this.canvas.getBoundingClientRect().width;
      this.view.set({ x: this.view.x - ratio * right / across, y: this.view.y - ratio * down / height });
    }
  }

  listen() {
    const { canvas, view } = this;
    const on = (name, heard) => canvas.addEventListener(name, heard, { passive: false });
    on("wheel", (event) => {
      if (view.zoom === 1 && event.deltaY > 0) return; // let the page scroll on
      event.preventDefault();
      this.zoomAt(event.clientX, event.clientY, view.zoom * Math.exp(-event.deltaY / 400));
    });
    on("pointerdown", (event) => { this.held.set(event.pointerId, event); canvas.setPointerCapture(event.pointerId); canvas.classList.add("dragged"); });
    on("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => { this.held.delete(event.pointerId); canvas.classList.remove("dragged"); });
    on("contextmenu", (event) => event.preventDefault());
    on("dblclick", () => view.reset());
    on("keydown", (event) => {
      const step = 0.1 / view.zoom;
      const moves = { ArrowLeft: { x: view.x - step }, ArrowRight: { x: view.x + step }, ArrowUp: { y: view.y - step }, ArrowDown: { y: view.y + step } };
      if (event.key === "+" || event.key === "=") view.set({ zoom: view.zoom * 1.25 });
      else if (event.key === "-") view.set({ zoom: view.zoom / 1.25 });
      else if (event.shiftKey && moves[event.key]) view.set(moves[event.key]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }
}

// Sliders and buttons for what a mouse does with the image, so that everybody can do it.
export function controls(place, view) {
  const slider = (name, property, min, max) => {
    const input = make("input", { type: "range", min, max, step: 1 }), shown = make("output");
    input.addEventListener("input", () => view.set({ [property]: Number(input.value) }));
    const update = () => { input.value = view[property]; shown.textContent = Math.round(view[property]); };
    view.addEventListener("change", update);
    update();
    return make("label", {}, name, input, shown);
  };
  const button = (label, text, act) => {
    const made = make("button", { type: "button", ariaLabel: label, title: label }, text);
    made.addEventListener("click", act);
    return made;
  };
  place.append(
    slider("Window", "window", 2, 512), slider("Level", "level", 0, 255),
    make("span", { className: "row" },
      button("Zoom out", "−", () => view.set({ zoom: view.zoom / 1.25 })),
      button("Zoom in", "+", () => view.set({ zoom: view.zoom * 1.25 })),
      button("Whole image, all greys", "Reset", () => view.reset())),
  );
}
