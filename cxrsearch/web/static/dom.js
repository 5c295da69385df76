// Elements are made here, and only from text: nothing of an index or an answer is ever read as markup.
export const byId = (id) => document.getElementById(id);

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const say = (text) => { byId("status").textContent = text; };
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
export const readable = (finding) => finding.replaceAll("_", " ");
export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
export const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(share < 0.0995 && share > 0 ? 1 : 0)}%`);
export const findingsOf = (image) => (image.findings === null ? "findings unknown" : image.findings.map(readable).join(", "));
export const sexOf = { F: "woman", M: "man" };
export const factsOf = (image) =>
  [image.view ?? "view unknown", image.age === null ? "age unknown" : `${image.age} years`, sexOf[image.sex]].filter(Boolean).join(" · ");

export function save(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
