// The filters, one form for both the neighbours and browsing.
import { byId, make, readable } from "./dom.js";

const chosen = { with: [], without: [] };
let changed = () => {}, inputs = {};

// The filters as the server takes them; those that are not set are left out.
export function filters() {
  const found = {};
  for (const name of ["view", "sex"]) if (inputs[name]?.value) found[name] = inputs[name].value;
  const [low, high] = [inputs.low?.value, inputs.high?.value];
  if (low || high) found.age = `${Math.min(low || 0, high || 130)}-${Math.max(low || 0, high || 130)}`;
  for (const name of ["with", "without"]) if (chosen[name].length) found[name] = chosen[name].join(",");
  return found;
}

export function setFilters(fields) {
  for (const name of ["view", "sex"]) if (inputs[name]) inputs[name].value = fields[name] ?? "";
  const [low = "", high = ""] = (fields.age ?? "").split("-");
  if (inputs.low) [inputs.low.value, inputs.high.value] = [low, high];
  for (const name of ["with", "without"]) chosen[name] = (fields[name] ?? "").split(",").filter(Boolean);
  chips();
}

export const firstFilter = () => byId("filters").querySelector("select, input");

export function makeFilters(index, heard) {
  changed = heard;
  const form = byId("filters");
  const select = (name, text, values) => {
    inputs[name] = make("select", {}, ...values.map(([value, shown]) => make("option", { value }, shown)));
    inputs[name].addEventListener("change", changed);
    return make("label", {}, text, inputs[name]);
  };
  const years = (name, text) => {
    inputs[name] = make("input", { type: "number", min: 0, max: 130, inputMode: "numeric" });
    inputs[name].addEventListener("change", changed);
    return make("label", {}, text, inputs[name]);
  };
  const parts = [];
  if (index.views.length) parts.push(select("view", "View", [["", "any"], ...index.views.map((view) => [view, view])]));
  if (index.sexes.length) parts.push(select("sex", "Sex", [["", "any"], ...index.sexes.map((sex) => [sex, { F: "women", M: "men" }[sex]])]));
  if (index.ages) parts.push(years("low", "Age from"), years("high", "to"));
  if (index.findings) for (const name of ["with", "without"]) parts.push(adder(name, index.findings));
  const clear = make("button", { type: "button", id: "clear" }, "Clear");
  clear.addEventListener("click", () => { setFilters({}); changed(); });
  form.replaceChildren(...parts, make("span", { className: "chips", id: "chips" }), clear);
  form.hidden = !parts.length;
  form.addEventListener("submit", (event) => event.preventDefault());
  chips();
}

function adder(name, findings) {
  const select = make("select", { id: `filter-${name}` }, make("option", { value: "" }, "add a finding"), ...findings.map((finding) => make("option", { value: finding }, readable(finding))));
  select.addEventListener("change", () => {
    if (select.value && !chosen[name].includes(select.value)) chosen[name].push(select.value);
    select.value = "";
    chips();
    changed();
  });
  return make("label", {}, name === "with" ? "With" : "Without", select);
}

function chips() {
  const place = byId("chips");
  if (!place) return;
  place.replaceChildren(...["with", "without"].flatMap((name) => chosen[name].map((finding) => {
    const chip = make("button", { type: "button", className: "chip", ariaLabel: `Remove the filter: ${name} ${readable(finding)}` }, `${name} ${readable(finding)} ×`);
    chip.addEventListener("click", () => { chosen[name] = chosen[name].filter((other) => other !== finding); chips(); changed(); firstFilter()?.focus(); });
    return chip;
  })));
  byId("clear").disabled = !Object.keys(filters()).length;
}

export const refreshClear = () => { byId("clear").disabled = !Object.keys(filters()).length; };
