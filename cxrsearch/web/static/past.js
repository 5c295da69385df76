// The answers that Back and Forward lead to. They live in this page only: the browser's history has a number of an
// upload, and of an indexed image the link, after `#`, which a browser does not send to the server.
const KEPT = 20, answers = new Map();
let count = 0;

export const linked = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

function write(entry, fields, replace) {
  const text = new URLSearchParams(fields).toString(), address = text ? `#${text}` : location.pathname;
  history[replace ? "replaceState" : "pushState"](entry, "", address);
}

// Keep an answer behind a new entry, or behind the one that the browser is at; `fields` are its link.
export function keep(answer, fields, { replace, upload }) {
  const key = `${performance.timeOrigin}-${count++}`;
  answers.set(key, answer);
  if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  write({ key, upload }, fields, replace);
}

// The answer of the entry that the browser is at, if it is still there.
export const current = () => answers.get(history.state?.key);

// Whether this entry was an upload, which a reload has forgotten.
export const isLost = () => Boolean(history.state?.upload) && !current();

// The start page: its filters, and from which image on it browses; an entry of its own, unless one is there already.
// To browse in place of an upload that is gone leaves its entry one that says so.
export const goHome = (filters, offset) => write({ offset }, filters, isHome(filters));
export const stay = (offset) => history.replaceState({ ...history.state, offset }, "");
export const offset = () => history.state?.offset ?? 0;

function isHome(filters) {
  return !history.state?.key && new URLSearchParams(filters).toString() === location.hash.slice(1);
}
