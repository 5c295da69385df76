// The table of findings, in the index's own order, so that each has the same place and scale in every answer.
import { byId, counted, make, percent, readable } from "./dom.js";

const LEAST = 2, CHANCE = 2;
let lines = [];

// Findings of an answer in its vocabulary's order, then those that only the network knows: {finding, probability, prevalence, network}.
function rowsOf(answer) {
  const network = new Map((answer.predictions ?? []).map((made) => [made.finding, made.probability]));
  const votes = (answer.votes ?? []).map((vote) => ({ ...vote, network: network.get(vote.finding) ?? null }));
  const voted = new Set(votes.map((vote) => vote.finding));
  const others = [...network].filter(([finding]) => !voted.has(finding)).map(([finding, probability]) => ({ finding, probability: null, prevalence: null, network: probability }));
  return [...votes, ...others];
}

// The finding that is chosen at first: the most voted of those with a heat map; null where there is none at all.
export function mostVoted({ answer, maps }) {
  const rows = rowsOf(answer), mapped = rows.filter((row) => maps?.findings.includes(row.finding));
  const more = (one, other) => (other.probability ?? 0) - (one.probability ?? 0) || (other.network ?? 0) - (one.network ?? 0);
  return (mapped.length ? mapped : rows).sort(more)[0]?.finding ?? null;
}

// Whether a vote of n neighbours stands out: two at least, and more than two standard errors above the prevalence.
const standsOut = ({ probability, prevalence }, n) =>
  prevalence !== null && Math.round(n * probability) >= LEAST && probability - prevalence > CHANCE * Math.sqrt(prevalence * (1 - prevalence) / n);

// Show the findings of an answer; `choose` is told which one was clicked.
export function showFindings(look, choose) {
  const answer = look.answer, n = look.neighbours.length, mapped = new Set(look.maps?.findings ?? []);
  lines = rowsOf(answer).map((row, place) => line(row, place, { strong: standsOut(row, n), mapped: mapped.has(row.finding), choose }));
  byId("findings").hidden = byId("findings-key").hidden = !lines.length;
  byId("judgement").classList.toggle("headless", !answer.predictions);
  byId("findings").tBodies[0].replaceChildren(...lines);
  byId("findings-note").textContent = !answer.votes
    ? "No votes: the findings of the indexed images are not known."
    : `Of ${counted(n, "neighbour")}, beside the share among all images that could be neighbours. Choose a finding to see ${look.maps ? "where the network sees it" : "which neighbours have it"}.`;
}

// Mark the chosen finding; the lines stay, so that the keyboard's focus does.
export function markFinding(finding) {
  for (const made of lines) {
    const chosen = made.finding === finding;
    made.classList.toggle("chosen", chosen);
    made.querySelector("button").ariaPressed = String(chosen);
  }
}

// The finding of a digit, 1 to 9 and 0 for the tenth; undefined where there is none.
export const numbered = (digit) => lines[(Number(digit) + 9) % 10]?.finding;

function line(row, place, { strong, mapped, choose }) {
  const digit = place < 10 ? String((place + 1) % 10) : null;
  const button = make("button", { type: "button", "aria-keyshortcuts": digit },
    make("kbd", { ariaHidden: "true" }, digit ?? ""), make("span", { className: "name" }, readable(row.finding)), strong ? make("span", { className: "out", ariaLabel: "stands out", role: "img" }, "▲") : null);
  button.addEventListener("click", () => choose(row.finding));
  const number = (share, more = "") => make("td", { className: `number ${more}` }, percent(share));
  const made = make("tr", { className: `${strong ? "strong" : ""} ${mapped ? "" : "mapless"}` }, make("th", { scope: "row" }, button),
    make("td", { className: "bars" }, track(row)), number(row.probability), number(row.prevalence), number(row.network, "network-column"));
  made.finding = row.finding;
  return made;
}

// Vote and prevalence as bars, the network as a mark, on a scale from 0 to 1 that no answer changes.
function track(row) {
  const made = make("div", { className: "track", ariaHidden: "true" });
  for (const [name, share] of [["vote", row.probability], ["prevalence", row.prevalence]]) {
    if (!share) continue;
    const bar = make("i", { className: name });
    bar.style.width = `${100 * share}%`;
    made.append(bar);
  }
  if (row.network !== null) {
    const mark = make("i", { className: "network" });
    mark.style.left = `${100 * row.network}%`;
    made.append(mark);
  }
  return made;
}
