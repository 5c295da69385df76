// The table of findings: votes as bars beside prevalence, the network's probabilities, and the choice of one.
import { byId, make, percent, readable } from "./dom.js";

const FEW = 8;
let shown = [], all = false, choose = () => {}, mapped = new Set();

// Findings of an answer, the most voted first: {finding, probability, prevalence, network}.
export function ranked(answer) {
  const network = new Map((answer.predictions ?? []).map((made) => [made.finding, made.probability]));
  const votes = (answer.votes ?? []).map((vote) => ({ ...vote, network: network.get(vote.finding) ?? null }));
  const voted = new Set(votes.map((vote) => vote.finding));
  const others = [...network].filter(([finding]) => !voted.has(finding)).map(([finding, probability]) => ({ finding, probability: null, prevalence: null, network: probability }));
  return [...votes, ...others].sort((one, other) => (other.probability ?? 0) - (one.probability ?? 0) || (other.network ?? 0) - (one.network ?? 0));
}

export function showFindings(look, chosen, heard) {
  const answer = look.answer;
  shown = ranked(answer);
  choose = heard;
  mapped = new Set(look.maps?.findings ?? []);
  const n = look.neighbours.length;
  byId("findings").hidden = !shown.length;
  byId("findings").classList.toggle("headless", !answer.predictions);
  byId("findings-note").textContent = !answer.votes
    ? "No votes: the findings of the indexed images are not known."
    : `Of ${n} neighbour${n === 1 ? "" : "s"}, beside the share among all images that could have answered. Choose a finding to see where the network sees it.`;
  fill(chosen);
}

// The finding of a digit, 1 to 9 and 0 for the tenth; undefined where there is none.
export const numbered = (digit) => shown[(Number(digit) + 9) % 10]?.finding;

function fill(chosen) {
  const most = Math.max(0.05, ...shown.flatMap((row) => [row.probability ?? 0, row.prevalence ?? 0, row.network ?? 0]));
  const visible = all ? shown : shown.filter((row, place) => place < FEW || row.finding === chosen);
  byId("findings").tBodies[0].replaceChildren(...visible.map((row) => line(row, shown.indexOf(row), chosen, most)));
  const more = byId("more-findings");
  more.hidden = shown.length <= FEW;
  more.textContent = all ? "Fewer findings" : `All ${shown.length} findings`;
  more.onclick = () => { all = !all; fill(chosen); };
}

function line(row, place, chosen, most) {
  const digit = place < 10 ? String((place + 1) % 10) : null;
  const button = make("button", { type: "button", ariaPressed: String(row.finding === chosen), "aria-keyshortcuts": digit },
    digit && make("kbd", { ariaHidden: "true" }, digit), readable(row.finding));
  button.addEventListener("click", () => choose(row.finding));
  const track = make("div", { className: "track", ariaHidden: "true" });
  for (const [name, share] of [["vote", row.probability], ["prevalence", row.prevalence]]) {
    const bar = make("i", { className: name });
    bar.style.width = `${100 * (share ?? 0) / most}%`;
    track.append(bar);
  }
  if (row.network !== null) {
    const mark = make("i", { className: "network" });
    mark.style.left = `${100 * row.network / most}%`;
    track.append(mark);
  }
  const number = (share, more = "") => make("td", { className: `number ${more}` }, percent(share));
  const made = make("tr", {}, make("th", { scope: "row" }, button), make("td", { className: "bars" }, track),
    number(row.probability), number(row.prevalence), number(row.network, "network-column"));
  made.className = `${row.finding === chosen ? "chosen" : ""} ${mapped.has(row.finding) ? "" : "mapless"}`;
  return made;
}
