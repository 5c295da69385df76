// The page: what was asked, what is shown of the answer, keys and links.
import { api, decoded, picture } from "./api.js";
import { fillGrid, mark, moveFocus, waitingGrid } from "./cases.js";
import { compare, isComparing, step, toggleAlike } from "./compare.js";
import { byId, factsOf, findingsOf, make, readable, save, say } from "./dom.js";
import { filters, firstFilter, makeFilters, refreshClear, setFilters } from "./filters.js";
import { numbered, ranked, showFindings } from "./findings.js";
import { highest, painted, scale } from "./heat.js";
import { draw as drawMap, makeMap, showOnMap } from "./map.js";
import { Pane, View, controls } from "./viewer.js";

const PAGE = 24, GRID_WAITING = 10;
const view = new View(), pane = new Pane(document.querySelector("#query canvas"), view);
// What is asked: a file, or an image of the index; what came back; the finding that is chosen; where browsing is.
const state = { index: null, file: null, row: null, patient: "", look: null, shown: null, finding: null, offset: 0, asking: null, again: null };

// Links: an indexed image and the filters, after `#`, which a browser does not send to the server.
const linked = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
function setLink() {
  const fields = { ...(state.row === null ? {} : { image: state.look?.own.image }), ...filters() };
  const text = new URLSearchParams(fields).toString();
  if (text !== location.hash.slice(1)) history.pushState(null, "", text ? `#${text}` : location.pathname);
}

function problem(title, error, again) {
  const box = byId("problem");
  box.hidden = false;
  box.querySelector("h2").textContent = title;
  box.querySelector("p").textContent = `${error.message[0].toUpperCase()}${error.message.slice(1)}`;
  state.again = again;
  byId("retry").hidden = !again;
}
const settled = () => { byId("problem").hidden = true; };

function titleOf(error) {
  if (error.status === 422) return "This image cannot be used";
  if (error.status === 413) return "This file is too large";
  if (error.status === 503) return "The server is busy";
  if (error.status === 401) return "This server asks for its token again: load the page anew";
  return error.status ? "That did not work" : "No answer";
}

// The fields of a question: the filters, and whose image an upload is, where that was said.
const asked = () => ({ ...filters(), ...(state.file && state.patient ? { patient: state.patient } : {}) });

// Ask for what `state` says, an upload or an indexed image, and show the answer.
async function ask({ fresh = true } = {}) {
  settled();
  state.asking?.abort();
  state.asking = new AbortController();
  const { signal } = state.asking, fields = asked();
  if (fresh) {
    Object.assign(state, { look: null, shown: null, finding: null });
    view.reset();
    pane.show(null);
    byId("query-name").textContent = state.file ? "Reading the image …" : "Asking the index …";
    for (const id of ["query-known", "query-source", "findings-note"]) byId(id).textContent = "";
    byId("gate").hidden = true;
    byId("warnings").replaceChildren();
    byId("findings").hidden = true;
    setActions(false);
  }
  byId("start").hidden = true;
  byId("result").hidden = false;
  byId("query").classList.add("waiting");
  byId("pager").hidden = true;
  byId("cases-title").textContent = "Nearest cases";
  byId("cases-note").textContent = "Looking for the nearest cases …";
  waitingGrid(GRID_WAITING);
  say("Waiting for the answer");
  try {
    const look = state.file ? await api.look(state.file, fields, signal) : await api.lookRow(state.row, fields, signal);
    await show(look, fresh);
  } catch (error) {
    if (error.name === "AbortError") return;
    failed(error, fresh);
  }
}

function failed(error, fresh) {
  byId("query").classList.remove("waiting");
  problem(titleOf(error), error, error.status === 422 || error.status === 413 ? null : () => ask({ fresh }));
  if (fresh) home({ keep: true });
  else if (state.look) showCases();
  say(`${titleOf(error)}: ${error.message}`);
}

async function show(look, fresh) {
  state.look = look;
  byId("query").classList.remove("waiting");
  if (fresh) {
    state.shown = await shownOf(look);
    await pane.show(state.shown.blob);
    const voted = ranked(look.answer).map((row) => row.finding), mapped = look.maps?.findings ?? [];
    state.finding = voted.find((finding) => mapped.includes(finding)) ?? voted[0] ?? mapped[0] ?? null;
    byId("heat").checked = Boolean(look.maps) && !look.typical.flagged;
  }
  byId("query-name").textContent = state.file ? look.answer.query : findingsOf(look.own);
  byId("query-known").textContent = state.file ? look.heading : `${look.own.image} · ${factsOf(look.own)} · patient ${look.own.patient}`;
  byId("query-source").textContent = `Shown: ${state.shown.source}`;
  pane.canvas.ariaLabel = state.file ? "The X-ray you opened" : `X-ray ${look.own.image}: ${findingsOf(look.own)}`;
  showGate(look);
  setActions(true);
  chooseFinding(state.finding);
  showCases();
  setLink();
  say(`${look.heading}. ${byId("gate").textContent}`);
}

async function shownOf(look) {
  if (look.picture) {
    const { png, width, height, description } = look.picture;
    return { blob: decoded(png), source: `your file as it was read: ${description}, ${width} × ${height} pixels${Math.max(width, height) > 1536 ? ", shown at 1536" : ""}` };
  }
  if (!look.own.original && !look.stored) return { blob: null, source: "nothing: this index keeps no pixels, and the original file cannot be reached" };
  return picture(look.own);
}

function showGate(look) {
  const { flagged, edge, sentence } = look.typical, gate = byId("gate");
  gate.hidden = false;
  gate.className = flagged === null ? "unsure" : flagged ? "unlike" : edge ? "edge" : "ordinary";
  gate.querySelector("h3").textContent = flagged === null ? "Cannot be compared with the index"
    : flagged ? "Warning: this image is unlike the index" : edge ? "At the edge of the index" : "An image like those of the index";
  gate.querySelector("p").textContent = flagged ? `${sentence} Neighbours, votes and heat maps may mean nothing for it.` : sentence;
  const others = look.answer.warnings.filter((warning) => warning !== look.answer.typicality.warning);
  byId("warnings").replaceChildren(...others.map((warning) => make("li", {}, `${warning[0].toUpperCase()}${warning.slice(1).replace(/ \(--[^)]*\)/, "")}.`)));
}

function setActions(enabled) {
  for (const id of ["save-json", "save-png", "copy-link"]) byId(id).disabled = !enabled;
  byId("copy-link").hidden = byId("patient").hidden = true;
  if (enabled) (state.file ? byId("patient") : byId("copy-link")).hidden = false;
}

function chooseFinding(finding) {
  state.finding = finding;
  showFindings(state.look, finding, (chosen) => { byId("heat").checked = Boolean(state.look.maps); chooseFinding(chosen); });
  mark(finding);
  showOnMap(state.look.place, state.look.neighbours, finding);
  showHeat();
}

function showHeat() {
  const maps = state.look?.maps, at = maps ? maps.findings.indexOf(state.finding) : -1;
  const box = byId("heat"), values = at < 0 ? null : maps.values[at], most = values ? highest(values) : 0;
  box.disabled = !values;
  pane.heat(values && box.checked && most > 0 ? painted(values, most) : null, Number(byId("opacity").value) / 100);
  for (const id of ["heat-low", "heat-scale", "heat-high"]) byId(id).hidden = !(values && most > 0);
  byId("heat-high").textContent = most > 0 ? `+${most.toPrecision(2)}` : "";
  byId("heat-name").textContent = !maps ? "No heat map: the encoder has no trained head, or there are no pixels."
    : at < 0 ? "No heat map for this finding."
    : most > 0 ? readable(state.finding) : `${readable(state.finding)}: no place speaks for it.`;
}

function showCases() {
  const look = state.look;
  byId("cases-title").textContent = look.answer.query_patient ? "Nearest cases of other patients" : "Nearest cases";
  const filtered = Object.keys(filters()).length ? " Filters hold: votes and prevalence are of the images they let through." : "";
  byId("cases-note").textContent = `${look.heading}. Click one to see it side by side.${filtered}`;
  fillGrid(look.neighbours, {
    ranked: true, pixels: state.index.pixels, chosen: state.finding, clear: clearFilters, empty: "No image may answer: the filters leave none.",
    open: (place) => compare({ blob: state.shown.blob, source: state.shown.source, name: state.file ? look.answer.query : look.own.image, stored: look.stored && decoded(look.stored), row: state.row }, look.neighbours, place, (image) => askRow(image.row)),
  });
}

function askRow(row) {
  Object.assign(state, { file: null, row });
  scrollTo({ top: 0 });
  return ask();
}

function askFile(file) {
  if (!file) return undefined;
  if (!state.index.uploads) return problem("This index takes no uploads", new Error("its embeddings were made elsewhere, so no image can be embedded; start from an indexed image"), null);
  if (file.size > state.index.upload_bytes) return problem("This file is too large", new Error(`it has ${(file.size / 1e6).toFixed(1)} MB; the server takes ${state.index.upload_bytes / 1e6} MB`), null);
  Object.assign(state, { file, row: null, patient: "" });
  byId("patient-id").value = "";
  scrollTo({ top: 0 });
  return ask();
}

// The start page: a place to drop a file, and the index to browse.
function home({ keep = false } = {}) {
  state.asking?.abort();
  Object.assign(state, { file: null, row: null, look: null, shown: null, finding: null });
  byId("start").hidden = false;
  byId("result").hidden = true;
  if (!keep) { settled(); setLink(); }
  showOnMap(null, [], null);
  return browse(0);
}

async function browse(offset) {
  state.offset = offset;
  byId("cases-title").textContent = "From the index";
  waitingGrid(PAGE / 2);
  state.asking?.abort();
  state.asking = new AbortController();
  try {
    const found = await api.images({ ...filters(), offset, limit: PAGE }, state.asking.signal);
    byId("cases-note").textContent = `${found.total.toLocaleString("en")} image${found.total === 1 ? "" : "s"}, in an order that chance gave. Click one to ask for its neighbours.`;
    fillGrid(found.images, { ranked: false, pixels: state.index.pixels, chosen: null, clear: clearFilters, empty: "No image of the index passes these filters.", open: (place) => askRow(found.images[place].row) });
    byId("pager").hidden = found.total <= PAGE;
    byId("page").textContent = `${offset + 1}–${Math.min(offset + PAGE, found.total)} of ${found.total.toLocaleString("en")}`;
    byId("previous").disabled = offset === 0;
    byId("next").disabled = offset + PAGE >= found.total;
    say(byId("cases-note").textContent);
  } catch (error) {
    if (error.name !== "AbortError") { problem(titleOf(error), error, () => browse(offset)); byId("grid").replaceChildren(); byId("cases-note").textContent = ""; }
  }
}

function filtersChanged() {
  refreshClear();
  if (state.look || state.row !== null || state.file) ask({ fresh: !state.look });
  else { setLink(); browse(0); }
}
const clearFilters = () => { setFilters({}); filtersChanged(); };

async function follow() {
  const fields = linked();
  setFilters(fields);
  if (!fields.image) return home({ keep: true });
  if (state.look?.own?.image === fields.image) return ask({ fresh: false });
  try {
    const found = await api.images({ id: fields.image });
    if (!found.total) throw new Error(`no image ${fields.image} in this index: the link is of another one, or it was built anew`);
    return await askRow(found.images[0].row);
  } catch (error) {
    problem("This link leads nowhere", error, null);
    return home({ keep: true });
  }
}

async function saveSheet() {
  const button = byId("save-png"), fields = asked();
  button.disabled = true;
  button.textContent = "Drawing …";
  try {
    save(state.file ? await api.sheet(state.file, fields) : await api.sheetRow(state.row, fields), "contact-sheet.png");
  } catch (error) { problem(titleOf(error), error, saveSheet); }
  button.disabled = false;
  button.textContent = "Save contact sheet";
}

async function copyLink() {
  const button = byId("copy-link");
  try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; } catch { button.textContent = "Copy it from the address bar"; }
  setTimeout(() => { button.textContent = "Copy link"; }, 2000);
}

const KEYS = [["← →", "the next neighbour"], ["Enter", "open it side by side"], ["H", "heat map on and off; side by side: where the two are alike"], ["1 … 9, 0", "the finding with this number"], ["/", "filters"], ["Esc", "close what is open"], ["?", "this page"], ["wheel, + −", "zoom"], ["drag, Shift + arrows", "move the image, when zoomed"], ["Shift + drag", "window and level, also with the right button"]];

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("select, input:not([type='range'], [type='checkbox'])"), sliding = event.target.matches("input[type='range']");
  if (event.key === "Escape") { if (!document.querySelector("dialog[open]")) { settled(); document.activeElement?.blur(); } return; }
  if (typing) return;
  const act = {
    ArrowRight: () => !sliding && (isComparing() ? step(1) : moveFocus(1)), ArrowLeft: () => !sliding && (isComparing() ? step(-1) : moveFocus(-1)),
    h: () => { if (isComparing()) toggleAlike(); else if (state.look && !byId("heat").disabled) { byId("heat").checked = !byId("heat").checked; showHeat(); say(`Heat map ${byId("heat").checked ? "on" : "off"}`); } },
    "/": () => { if (!isComparing()) firstFilter()?.focus(); }, "?": () => byId("help").open || byId("help").showModal(),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const finding = /^[0-9]$/.test(event.key) && state.look && !isComparing() ? numbered(event.key) : undefined;
  if (finding) { byId("heat").checked = Boolean(state.look.maps); chooseFinding(finding); say(`Finding ${readable(finding)}`); }
  if (finding || (act && act() !== false)) event.preventDefault();
}

function setTheme(light) {
  document.documentElement.dataset.theme = light ? "light" : "dark";
  byId("theme").textContent = light ? "Dark" : "Light";
  try { localStorage.setItem("theme", light ? "light" : "dark"); } catch { /* a private window keeps nothing */ }
  drawMap();
}

function wire() {
  const on = (id, heard) => byId(id).addEventListener("click", heard);
  for (const id of ["open", "choose"]) on(id, () => byId("file").click());
  byId("file").addEventListener("change", () => { askFile(byId("file").files[0]); byId("file").value = ""; });
  on("browse", () => home());
  on("theme", () => setTheme(document.documentElement.dataset.theme !== "light"));
  on("show-help", () => byId("help").showModal());
  on("close-help", () => byId("help").close());
  on("retry", () => state.again?.());
  on("dismiss", settled);
  on("previous", () => browse(Math.max(0, state.offset - PAGE)));
  on("next", () => browse(state.offset + PAGE));
  on("save-json", () => save(new Blob([JSON.stringify(state.look.answer, null, 2)], { type: "application/json" }), "answer.json"));
  on("save-png", saveSheet);
  on("copy-link", copyLink);
  byId("heat").addEventListener("change", showHeat);
  byId("opacity").addEventListener("input", showHeat);
  byId("patient").addEventListener("submit", (event) => { event.preventDefault(); state.patient = byId("patient-id").value.trim(); ask({ fresh: false }); });
  addEventListener("keydown", pressed);
  addEventListener("popstate", follow);
  addEventListener("paste", (event) => askFile([...event.clipboardData.files][0]));
  addEventListener("dragover", (event) => { event.preventDefault(); byId("dropping").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) byId("dropping").hidden = true; });
  addEventListener("drop", (event) => { event.preventDefault(); byId("dropping").hidden = true; askFile(event.dataTransfer.files[0]); });
  byId("keys").replaceChildren(...KEYS.flatMap(([key, text]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, text)]));
  controls(document.querySelector("#query .levels"), view);
  scale(byId("heat-scale"));
}

async function begin() {
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* dark then */ }
  setTheme(kept === "light");
  wire();
  try {
    state.index = await api.index();
  } catch (error) {
    problem(titleOf(error), error, () => location.reload());
    return;
  }
  const { images, patients, encoder, untrained } = state.index;
  byId("about").textContent = `${images.toLocaleString("en")} images of ${patients.toLocaleString("en")} patients · ${encoder}${untrained ? " · untrained: no medical meaning" : ""}`;
  makeFilters(state.index, filtersChanged);
  await follow();
  if (state.index.map) makeMap(await api.map(), state.index.map, askRow), state.look && chooseFinding(state.finding);
  document.documentElement.dataset.ready = "true";
}

begin();
