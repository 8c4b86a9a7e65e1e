// The demo's page: sends the same requests to all limiters, counts what they answer, and draws it.

import { Chart } from "./chart.js";

const byId = (id) => document.getElementById(id);

// A limiter, and what this page was answered by it.
class Panel {
  #admitted = 0;
  #denied = 0;

  constructor(article) {
    this.limiter = article.dataset.limiter;
    this.name = article.querySelector("h2").textContent;
    article.append(byId("panel").content.cloneNode(true));
    const find = (selector) => article.querySelector(selector);
    this.chart = new Chart(find("canvas"));
    this.counts = [find(".admitted dd"), find(".denied dd")];
    this.leftName = find(".left dt");
    this.left = find(".left dd");
    this.status = find("summary span");
    this.headers = find("details pre");
    find("details").open = matchMedia("(min-width: 60rem)").matches;
  }

  // One request; whether it was admitted.
  async ask(client) {
    const headers = { "x-api-key": client };
    const answer = await fetch(`/api/${this.limiter}`, { headers, cache: "no-store" });
    if (answer.status !== 200 && answer.status !== 429) throw new Error(`${answer.status}`);
    this.#answered(client, answer);
    return answer.ok;
  }

  #answered(client, answer) {
    if (answer.ok) this.#admitted += 1;
    else this.#denied += 1;
    this.counts[0].textContent = this.#admitted;
    this.counts[1].textContent = this.#denied;
    this.status.textContent = `${answer.status} ${answer.statusText}`;
    const told = [...answer.headers].filter(([name]) => /ratelimit|^retry-after$/.test(name));
    this.headers.textContent = told.map(([name, value]) => `${name}: ${value}`).join("\n");
    const time = performance.now();
    this.chart.answered(time, client, answer.ok);
    this.chart.stands(time, client, Number(answer.headers.get("x-ratelimit-remaining")));
    animate();
  }

  // What the server says is left to each client.
  stands(left) {
    const known = clients().map((client) => left[client] ?? "–");
    this.left.textContent = known.join(" · ");
    this.leftName.textContent = known.length > 1 ? "left to alice · bob" : "left";
    for (const client of clients()) {
      if (left[client] !== null) this.chart.stands(performance.now(), client, left[client]);
    }
    animate();
  }
}

// The traffic.

const clients = () => byId("controls").elements.clients.value.split(" ");

// `count` requests of each client to each limiter, all at once.
async function send(count) {
  const asked = panels.flatMap((panel) =>
    clients().flatMap((client) => Array.from({ length: count }, () => panel.ask(client))));
  const answers = await Promise.allSettled(asked);
  const admitted = answers.filter(({ value }) => value === true).length;
  const denied = answers.filter(({ value }) => value === false).length;
  const failed = answers.length - admitted - denied;
  if (failed) {
    stop();
    say(`${failed} of ${answers.length} requests were not answered. Is the demo still running?`);
  }
  return { admitted, denied, failed };
}

async function burst() {
  const { admitted, denied, failed } = await send(byId("size").valueAsNumber);
  if (!failed) say(`Burst: ${admitted} admitted, ${denied} denied.`);
}

let stream = null;

function start() {
  stop();
  const rate = byId("rate").valueAsNumber;
  stream = setInterval(() => send(1), 1_000 / rate);
  send(1);
  press(true);
  say(`Sending ${rate} per second to each limiter, for each client.`);
}

function stop() {
  clearInterval(stream);
  stream = null;
  press(false);
}

function press(isPressed) {
  byId("steady").setAttribute("aria-pressed", isPressed);
}

function toggle() {
  if (stream === null) return start();
  stop();
  say("Stopped.");
}

function say(text) {
  byId("said").textContent = text;
}

// What the server knows.

async function watch() {
  if (!document.hidden) {
    try {
      show(await (await fetch("/statistics", { cache: "no-store" })).json());
    } catch {
      say("The server does not answer. Is the demo still running?");
    }
  }
  setTimeout(watch, 500);
}

function show({ limiters, offenders }) {
  const of = new Map(limiters.map((it) => [it.limiter, it]));
  for (const panel of panels) panel.stands(of.get(panel.limiter).remaining);
  const names = new Map(panels.map((panel) => [panel.limiter, panel.name]));
  fill("totals", limiters.map((it) => [names.get(it.limiter) ?? "Export", it.admitted, it.denied]));
  if (offenders.length) {
    fill("offenders", offenders.map((it) =>
      [it.client, names.get(it.limiter) ?? "Export", it.denied]));
  }
}

function fill(table, rows) {
  const cells = (row) => row.map((text) => {
    const cell = document.createElement("td");
    cell.textContent = text;
    return cell;
  });
  const lines = rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...cells(row));
    return line;
  });
  byId(table).tBodies[0].replaceChildren(...lines);
}

// The picture, drawn as long as it moves. All charts have one scale, so that they can be compared.

const SCALE = [10, 6]; // blocks above the line, and below it, at least
const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

let scale = SCALE;
let frame = null;

function animate() {
  frame ??= isCalm.matches ? setTimeout(draw, 1_000) : requestAnimationFrame(draw);
}

function draw() {
  frame = null;
  const now = performance.now();
  const charts = panels.map((panel) => panel.chart);
  for (const chart of charts) chart.forget(now);
  const peaks = charts.map((chart) => chart.peaks());
  const target = SCALE.map((least, side) => Math.max(least, ...peaks.map((peak) => peak[side])));
  scale = scale.map((size, side) => size + (target[side] - size) * .2);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => [name, style.getPropertyValue(`--${name}`)];
  const colors = Object.fromEntries(["admitted", "denied", "line", "muted"].map(color));
  for (const chart of charts) chart.draw(now, scale, colors, clients());
  if (charts.some((chart) => chart.isMoving)) animate();
}

// Begin.

const panels = [...document.querySelectorAll("article")].map((article) => new Panel(article));

function follow(slider, text) {
  const show = () => { byId(`${slider}-value`).textContent = text(byId(slider).valueAsNumber); };
  byId(slider).addEventListener("input", show);
  show();
}

// Bob is in the picture if he takes part.
function choose() {
  document.body.classList.toggle("two", clients().length > 1);
  animate();
}

follow("size", (size) => (size === 1 ? "1 request" : `${size} requests`));
follow("rate", (rate) => `${rate}/s`);
byId("burst").addEventListener("click", burst);
byId("steady").addEventListener("click", toggle);
byId("rate").addEventListener("change", () => stream !== null && start());
byId("clients").addEventListener("change", choose);
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("origin").textContent = location.host;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", animate);
addEventListener("resize", animate);
choose();
watch();
