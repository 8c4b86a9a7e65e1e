// The page about leases: shows what all processes admitted beside the bound, and kills and starts them.

import { WindowChart } from "./windows.js";

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en").format;

const charts = [
  new WindowChart(byId("whole"), (limit, excess) => [0, (limit + excess) * 1.05]),
  new WindowChart(byId("near"), (limit, excess) => {
    const around = excess || limit / 100;
    return [limit - 3 * around, limit + 1.5 * around];
  }),
];

let state = null;

async function watch() {
  if (!document.hidden) {
    try {
      state = await (await fetch("/processes", { cache: "no-store" })).json();
      show();
    } catch {
      say("The demo does not answer. Is it still running?");
    }
  }
  setTimeout(watch, 200);
}

function show() {
  const { limit, window_seconds, length_ms, held_max, excess_max, admitted, most } = state;
  const seconds = number(window_seconds);
  byId("terms").textContent = `The limit is ${number(limit)} in ${seconds} seconds. Leases are of ` +
    `${number(length_ms)} ms and ${number(held_max)} permits, so all ${state.processes.length} together ` +
    `admit at most ${number(excess_max)} above it in any window: ${number(100 * excess_max / limit)} %.`;
  for (const place of document.querySelectorAll("[data-seconds]")) place.textContent = seconds;
  byId("requests").textContent = number(state.requests_per_second);
  const now = admitted.at(-1) ?? 0;
  byId("now").textContent = number(now);
  byId("limit").textContent = number(limit);
  byId("bound").textContent = number(limit + excess_max);
  byId("most").textContent = number(most);
  byId("whole").ariaLabel = `The last minute: ${number(now)} admitted now, ` +
    `${number(Math.max(0, ...admitted))} at most, the limit is ${number(limit)}`;
  state.processes.forEach(showProcess);
  draw();
}

function showProcess({ is_running, totals }, index) {
  const row = byId("processes").tBodies[0].rows[index] ?? addRow(index);
  const perCall = totals.calls ? (totals.checks / totals.calls).toFixed(1) : "–";
  const counts = [totals.checks, totals.admitted, totals.leased, totals.denied, totals.calls].map(number);
  const texts = [`${index + 1}`, is_running ? "running" : "killed", ...counts, perCall];
  texts.forEach((text, cell) => { row.cells[cell].textContent = text; });
  row.cells[1].classList.toggle("ended", !is_running);
  const button = row.querySelector("button");
  button.textContent = is_running ? "Kill" : "Start";
  button.ariaLabel = `${button.textContent} process ${index + 1}`;
  button.classList.toggle("start", !is_running);
}

function addRow(index) {
  byId("processes").tBodies[0].append(byId("row").content.cloneNode(true));
  const row = byId("processes").tBodies[0].rows[index];
  row.querySelector("button").addEventListener("click", () => toggle(index));
  return row;
}

async function toggle(index) {
  const isKill = state.processes[index].is_running;
  const headers = { "content-type": "application/json" };
  const [path, done] = isKill ? ["kill", "killed"] : ["start", "started"];
  try {
    const body = `${index + 1}`;
    const answer = await fetch(`/processes/${path}`, { method: "POST", headers, body });
    say(answer.ok ? `Process ${index + 1} was ${done}.` : `Process ${index + 1} could not be ${done}.`);
  } catch {
    say("The demo does not answer. Is it still running?");
  }
}

function say(text) {
  byId("said").textContent = text;
}

function draw() {
  if (state === null) return;
  const style = getComputedStyle(document.documentElement);
  const color = (name) => [name, style.getPropertyValue(`--${name}`)];
  const colors = Object.fromEntries(["ink", "admitted", "denied", "line", "muted"].map(color));
  for (const chart of charts) chart.draw(state, colors);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
addEventListener("resize", draw);
watch();
