// The page: what was asked, what is shown of the answer, keys and links.
import { api, decoded, picture } from "./api.js";
import { fillGrid, mark, moveFocus, waitingGrid } from "./cases.js";
import { compare, isComparing, step, toggleAlike } from "./compare.js";
import { byId, counted, factsOf, findingsOf, make, readable, save, say } from "./dom.js";
import { filters, firstFilter, makeFilters, refreshClear, setFilters } from "./filters.js";
import { markFinding, mostVoted, numbered, showFindings } from "./findings.js";
import { highest, painted, scale } from "./heat.js";
import { draw as drawMap, makeMap, showOnMap } from "./map.js";
import * as past from "./past.js";
import { Pane, View, controls } from "./viewer.js";

const PAGE = 24, GRID_WAITING = 10;
const view = new View(), pane = new Pane(document.querySelector("#query canvas"), view);
// `now` is what is shown: {file, row, patient, filters} as asked, a file or the row of an indexed image; `look`, the answer;
// `shown`, its picture; `finding`, the one that is chosen. `waiting` is what is asked and not answered yet.
const state = { index: null, now: null, waiting: null, offset: 0, asking: null, again: null };

// A signal for a new request, which ends the one before.
function instead() {
  state.asking?.abort();
  state.asking = new AbortController();
  return state.asking.signal;
}

// Say what went wrong, and, where an answer stays on the page, `former`, whose that is.
function problem(title, error, again, former) {
  const box = byId("problem");
  box.hidden = false;
  box.querySelector("h2").textContent = title;
  const said = `${error.message[0].toUpperCase()}${error.message.slice(1)}`, ended = /[.?!]$/.test(said) ? said : `${said}.`;
  box.querySelector("p").textContent = former ? `${ended} The answer below is still that of ${former.look.answer.query}.` : said;
  state.again = again;
  byId("retry").hidden = !again;
}
const settled = () => { byId("problem").hidden = true; };

function titleOf(error, file = null) {
  if (error.status === 422) return file ? `${file.name || "The pasted image"} cannot be used` : "This image cannot be used";
  if (error.status === 413) return "This file is too large";
  if (error.status === 503) return "The server is busy";
  if (error.status === 401) return "This server asks for its token again: reload the page";
  return error.status ? "That did not work" : "No answer";
}

// The fields of a question: the filters, and whose image an upload is, where that was said.
const fieldsOf = ({ filters, file, patient }) => ({ ...filters, ...(file && patient ? { patient } : {}) });
const linkOf = ({ row, look, filters }) => ({ ...(row === null ? {} : { image: look.own.image }), ...filters });

// Ask a question, {file, row, patient, filters}, and show its answer: as a new entry of the history, or in place of this one.
async function ask({ file, row, patient, filters }, { replace = false } = {}) {
  const question = { file, row, patient, filters }, signal = instead();
  const former = state.now?.file === file && state.now.row === row ? state.now : null; // the same image, asked otherwise
  settled();
  showWaiting(question, former);
  try {
    const look = file ? await api.look(file, fieldsOf(question), signal) : await api.lookRow(row, fieldsOf(question), signal);
    const shown = former?.shown ?? await shownOf(look);
    if (signal.aborted) return;
    const now = { ...question, look, shown, finding: former ? former.finding : mostVoted(look) };
    past.keep(now, linkOf(now), { replace, upload: Boolean(file) });
    await show(now);
  } catch (error) {
    if (error.name !== "AbortError") failed(error, question, replace);
  }
}

function stage(name) {
  for (const id of ["start", "result"]) byId(id).hidden = id !== name;
}

function showWaiting(question, former) {
  state.waiting = question;
  if (!former) clear(question.file ? "Reading the image …" : "Asking the index …");
  stage("result");
  byId("query").classList.add("waiting");
  byId("pager").hidden = true;
  byId("cases-title").textContent = "Nearest cases";
  byId("cases-note").textContent = "Looking for the nearest cases …";
  waitingGrid(GRID_WAITING);
  say("Waiting for the answer");
}

// Nothing of one image may stand beside another one.
function clear(name) {
  state.now = null;
  view.reset();
  pane.show(null);
  byId("query-name").textContent = name;
  for (const id of ["query-known", "query-source", "findings-note"]) byId(id).textContent = "";
  for (const id of ["gate", "findings", "findings-key"]) byId(id).hidden = true;
  for (const id of ["warnings", "query-indexed"]) byId(id).replaceChildren();
  setActions(false);
}

// What failed leaves the page as it was: the former answer, or the start page.
async function failed(error, question, replace) {
  const title = titleOf(error, question.file), former = past.current(), fatal = error.status === 422 || error.status === 413;
  problem(title, error, fatal ? null : () => { setFilters(question.filters); ask(question, { replace }); }, former);
  await (former ? restore(former) : home({ keep: true }));
  say(`${title}: ${error.message}`);
}

// Show an answer of before, with the question it answers.
function restore(now) {
  setFilters(now.filters);
  byId("patient-id").value = now.patient;
  return show(now);
}

async function show(now) {
  const { look, shown, file } = now, fresh = state.now?.shown !== shown;
  Object.assign(state, { now, waiting: null });
  stage("result");
  byId("query").classList.remove("waiting");
  if (fresh) {
    view.reset();
    await pane.show(shown.blob);
    if (state.now !== now) return; // somebody went on meanwhile
    byId("heat").checked = Boolean(look.maps) && !look.typical.flagged;
  }
  byId("query-name").textContent = nameOf(now);
  byId("query-known").textContent = file ? look.heading : `${look.own.image} · ${factsOf(look.own)} · patient ${look.own.patient}`;
  byId("query-indexed").replaceChildren(...(look.indexed ?? []).map(indexedAs));
  byId("query-source").textContent = `Shown: ${shown.source}`;
  pane.canvas.ariaLabel = file ? "The X-ray you opened" : `X-ray ${look.own.image}: ${findingsOf(look.own)}`;
  showGate(look);
  setActions(true);
  showFindings(look, (chosen) => { byId("heat").checked = Boolean(look.maps); chooseFinding(chosen); });
  chooseFinding(now.finding);
  showCases();
  if (document.activeElement === document.body) byId("query-name").focus({ preventScroll: true });
  say(`${look.heading}. ${byId("gate").textContent}`);
}

const nameOf = ({ file, look }) => (file ? look.answer.query : findingsOf(look.own));

// That an upload is an indexed image, and what the index has recorded of it.
const indexedAs = (image) => make("li", {}, "This image is in the index, as ", make("a", { href: `#${new URLSearchParams({ image: image.image })}` }, image.image),
  image.findings ? ". Recorded: " : "; ", make("strong", {}, findingsOf(image)), ` · ${factsOf(image)} · patient ${image.patient}. It does not answer for itself.`);

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
  gate.querySelector("p").textContent = flagged ? `${sentence} Its neighbours, votes and heat maps may be meaningless.` : sentence;
  const others = look.answer.warnings.filter((warning) => warning !== look.answer.typicality.warning);
  byId("warnings").replaceChildren(...others.map((warning) => make("li", {}, `${warning[0].toUpperCase()}${warning.slice(1).replace(/ \(--[^)]*\)/, "")}.`)));
}

function setActions(enabled) {
  for (const id of ["save-json", "save-png", "copy-link"]) byId(id).disabled = !enabled;
  byId("copy-link").hidden = byId("patient").hidden = true;
  if (enabled) byId(state.now.file ? "patient" : "copy-link").hidden = false;
}

function chooseFinding(finding) {
  state.now.finding = finding;
  markFinding(finding);
  mark(finding);
  showOnMap(state.now.look.place, state.now.look.neighbours, finding);
  showHeat();
}

function showHeat() {
  if (!state.now) return;
  const { look: { maps }, finding } = state.now, at = maps ? maps.findings.indexOf(finding) : -1;
  const box = byId("heat"), values = at < 0 ? null : maps.values[at], most = values ? highest(values) : 0;
  box.disabled = !values;
  pane.heat(values && box.checked && most > 0 ? painted(values, most) : null, Number(byId("opacity").value) / 100);
  for (const id of ["heat-low", "heat-scale", "heat-high"]) byId(id).hidden = !(values && most > 0);
  byId("heat-high").textContent = most > 0 ? `+${most.toPrecision(2)}` : "";
  byId("heat-name").textContent = !maps ? "No heat map: the encoder has no trained head, or there are no pixels."
    : at < 0 ? "No heat map for this finding."
    : most > 0 ? readable(finding) : `${readable(finding)}: no place speaks for it.`;
}

function showCases() {
  const { look, shown, row, finding } = state.now;
  byId("pager").hidden = true;
  byId("cases-title").textContent = look.answer.query_patient ? "Nearest cases of other patients" : "Nearest cases";
  const filtered = Object.keys(state.now.filters).length ? " Filters hold: votes and prevalence are of the images they let through." : "";
  byId("cases-note").textContent = `${look.heading}. Click one to see it side by side.${filtered}`;
  const asked = { blob: shown.blob, source: shown.source, name: look.answer.query, stored: look.stored && decoded(look.stored), row };
  fillGrid(look.neighbours, {
    ranked: true, pixels: state.index.pixels, chosen: finding, clear: clearFilters, empty: "No image matches the filters.",
    open: (place) => compare(asked, look.neighbours, place, (image) => askRow(image.row)),
  });
}

function askRow(row) {
  scrollTo({ top: 0 });
  return ask({ file: null, row, patient: "", filters: filters() });
}

function askFile(file) {
  if (!file) return undefined;
  scrollTo({ top: 0 });
  if (!state.index.uploads) return problem("This index takes no uploads", new Error("its embeddings were imported, so no image can be embedded; start from an indexed image"), null, state.now);
  if (file.size > state.index.upload_bytes) return problem(`${file.name} is too large`, new Error(`it has ${(file.size / 1e6).toFixed(1)} MB; the server takes ${state.index.upload_bytes / 1e6} MB`), null, state.now);
  byId("patient-id").value = "";
  return ask({ file, row: null, patient: "", filters: filters() });
}

// The start page: a place to drop a file, and the index to browse. `keep`: in the entry of the history that there is.
function home({ keep = false } = {}) {
  Object.assign(state, { now: null, waiting: null });
  stage("start");
  if (!keep) { settled(); past.goHome(filters(), 0); }
  showOnMap(null, [], null);
  return browse(past.offset());
}

async function browse(offset) {
  const signal = instead();
  state.offset = offset;
  byId("cases-title").textContent = "From the index";
  waitingGrid(PAGE / 2);
  try {
    const found = await api.images({ ...filters(), offset, limit: PAGE }, signal);
    past.stay(offset);
    byId("cases-note").textContent = `${counted(found.total, "image")}, in an order that chance gave. Click one to ask for its neighbours.`;
    fillGrid(found.images, { ranked: false, pixels: state.index.pixels, chosen: null, clear: clearFilters, empty: "No image of the index matches these filters.", open: (place) => askRow(found.images[place].row) });
    showPager(offset, found.total);
    say(byId("cases-note").textContent);
  } catch (error) {
    if (error.name !== "AbortError") unbrowsed(error, offset);
  }
}

// A problem that is on the page already stays: to try again what was asked matters more than to browse.
function unbrowsed(error, offset) {
  if (byId("problem").hidden) problem(titleOf(error), error, () => browse(offset));
  byId("grid").ariaBusy = "false";
  byId("grid").replaceChildren();
  byId("cases-note").textContent = "The images of the index could not be loaded.";
}

function showPager(offset, total) {
  byId("pager").hidden = total <= PAGE;
  byId("page").textContent = `${offset + 1}–${Math.min(offset + PAGE, total)} of ${total.toLocaleString("en")}`;
  byId("previous").disabled = offset === 0;
  byId("next").disabled = offset + PAGE >= total;
}

function filtersChanged() {
  refreshClear();
  const asked = state.waiting ?? state.now;
  if (asked) ask({ ...asked, filters: filters() });
  else home();
}
const clearFilters = () => { setFilters({}); filtersChanged(); };

// Show what the entry of the history says that the browser is at: an answer that is still here, a link, or the start page.
async function follow() {
  const signal = instead(), former = past.current(), { image, ...fields } = past.linked();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  settled();
  if (former) return restore(former);
  setFilters(fields);
  if (past.isLost()) problem("The X-ray that you opened is no longer here", new Error("the server stores no image, and this page keeps only the last 20 answers until it is reloaded: open the image again"), null);
  if (!image) return home({ keep: true });
  try {
    const found = await api.images({ id: image }, signal);
    if (!found.total) throw new Error(`no image ${image} in this index: the link is of another one, or it was built anew`);
    return await ask({ file: null, row: found.images[0].row, patient: "", filters: filters() }, { replace: true });
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    problem("This link leads nowhere", error, null);
    return home({ keep: true });
  }
}

async function saveSheet(asked) {
  const button = byId("save-png"), { file, row } = asked, fields = fieldsOf(asked);
  button.disabled = true;
  button.textContent = "Drawing …";
  try {
    save(file ? await api.sheet(file, fields) : await api.sheetRow(row, fields), "contact-sheet.png");
  } catch (error) { problem(titleOf(error), error, () => saveSheet(asked)); }
  button.disabled = !state.now; // somebody may have gone on meanwhile
  button.textContent = "Save contact sheet";
}

async function copyLink() {
  const button = byId("copy-link");
  try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; } catch { button.textContent = "Copy it from the address bar"; }
  setTimeout(() => { button.textContent = "Copy link"; }, 2000);
}

const KEYS = [["← →", "the next neighbour"], ["Enter", "open it side by side"], ["H", "heat map on and off; side by side: where the two are alike"], ["1 … 9, 0", "the finding with this number"], ["/", "filters"], ["Esc", "close what is open"], ["?", "this page"], ["wheel, + −", "zoom"], ["drag, Shift + arrows", "move the image, when zoomed"], ["arrows, Enter", "on the embedding map: the next dot in that direction; query with its image"], ["Shift + drag", "window and level, also with the right button"]];

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("select, input:not([type='range'], [type='checkbox'])"), sliding = event.target.matches("input[type='range']");
  if (event.key === "Escape") { if (!document.querySelector("dialog[open]")) { settled(); document.activeElement?.blur(); } return; }
  if (typing) return;
  const act = {
    ArrowRight: () => !sliding && (isComparing() ? step(1) : moveFocus(1)), ArrowLeft: () => !sliding && (isComparing() ? step(-1) : moveFocus(-1)),
    h: () => { if (isComparing()) toggleAlike(); else if (state.now && !byId("heat").disabled) { byId("heat").checked = !byId("heat").checked; showHeat(); say(`Heat map ${byId("heat").checked ? "on" : "off"}`); } },
    "/": () => { if (!isComparing()) firstFilter()?.focus(); }, "?": () => byId("help").open || byId("help").showModal(),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const finding = /^[0-9]$/.test(event.key) && state.now && !isComparing() ? numbered(event.key) : undefined;
  if (finding) { byId("heat").checked = Boolean(state.now.look.maps); chooseFinding(finding); say(`Finding ${readable(finding)}`); }
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
  on("home", (event) => { if (!event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); home(); } });
  on("skip", (event) => { event.preventDefault(); byId("main").focus(); }); // a hash would be followed as a link to an answer
  on("theme", () => setTheme(document.documentElement.dataset.theme !== "light"));
  on("show-help", () => byId("help").showModal());
  on("close-help", () => byId("help").close());
  on("retry", () => { settled(); state.again?.(); });
  on("dismiss", settled);
  on("previous", () => { settled(); browse(Math.max(0, state.offset - PAGE)); });
  on("next", () => { settled(); browse(state.offset + PAGE); });
  on("save-json", () => save(new Blob([JSON.stringify(state.now.look.answer, null, 2)], { type: "application/json" }), "answer.json"));
  on("save-png", () => saveSheet(state.now));
  on("copy-link", copyLink);
  byId("heat").addEventListener("change", showHeat);
  byId("opacity").addEventListener("input", showHeat);
  byId("patient").addEventListener("submit", (event) => { event.preventDefault(); ask({ ...(state.waiting ?? state.now), patient: byId("patient-id").value.trim() }); });
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
  byId("about").textContent = `${counted(images, "image")} of ${counted(patients, "patient")} · ${encoder}${untrained ? ": no medical meaning" : ""}`;
  makeFilters(state.index, filtersChanged);
  await follow();
  if (state.index.map) makeMap(await api.map(), state.index.map, askRow), state.now && chooseFinding(state.now.finding);
  document.documentElement.dataset.ready = "true";
}

begin();
