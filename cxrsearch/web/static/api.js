// Every request to the server, and its errors in words.
export class Problem extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new Problem(response.status, said.error ?? `The server answered with status ${response.status}.`);
}

const query = (fields) => {
  const given = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return given.size ? `?${given}` : "";
};
const form = (file, name, fields) => {
  const body = new FormData();
  for (const [field, value] of Object.entries(fields)) if (value !== "") body.append(field, value);
  body.append("file", file, name);
  return { method: "POST", body };
};
const json = async (...parts) => (await request(...parts)).json();
const blob = async (...parts) => (await request(...parts)).blob();

export const api = {
  index: () => json("/api/index"),
  map: () => json("/api/map"),
  images: (fields, signal) => json(`/api/images${query(fields)}`, { signal }),
  look: (file, fields, signal) => json("/api/look", { ...form(file, file.name || "pasted", fields), signal }),
  lookRow: (row, fields, signal) => json(`/api/images/${row}/look${query(fields)}`, { signal }),
  sheet: (file, fields) => blob("/api/sheet", form(file, file.name || "pasted", fields)),
  sheetRow: (row, fields) => blob(`/api/images/${row}/sheet${query(fields)}`),
  similarity: (stored, row) => json("/api/similarity", form(stored, "stored.png", { row })),
  similarityRow: (row, other) => json(`/api/images/${row}/similarity/${other}`),
  pixels: (row) => `/api/images/${row}/pixels`,
};

// An indexed image to be looked at: its own file where that can be had, else what the index keeps; and which it is.
export async function picture(image) {
  if (image.original) {
    try {
      return { blob: await blob(`/api/images/${image.row}/original`), source: "original file" };
    } catch (error) {
      if (error.status !== 404) throw error;
      return { blob: await blob(api.pixels(image.row)), source: `256 px copy of the index (${error.message})` };
    }
  }
  return { blob: await blob(api.pixels(image.row)), source: "256 px copy of the index; the original file cannot be reached" };
}

export const decoded = (text) => new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" });
