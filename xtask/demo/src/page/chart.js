// A chart of the last seconds: each request a block, admitted above the line and denied below it,
// and behind them what was left to its client.

import { clearCanvas } from "./canvas.js";

const SPAN = 24_000; // milliseconds, from the left to the right
const SLOT = 1_000; // whose blocks stand on each other
const AXIS = 16; // pixels, for the text below

export class Chart {
  #canvas;
  #answers = []; // { time, client, isAdmitted }
  #left = new Map(); // of a client: [{ time, left }]

  constructor(canvas) {
    this.#canvas = canvas;
  }

  answered(time, client, isAdmitted) {
    this.#answers.push({ time, client, isAdmitted });
  }

  stands(time, client, left) {
    const steps = this.#left.get(client) ?? [];
    if (steps.at(-1)?.left !== left) steps.push({ time, left });
    this.#left.set(client, steps);
  }

  // Forgets what has left the picture, but for the step that still reaches into it.
  forget(now) {
    this.#answers = this.#answers.filter(({ time }) => now - time < SPAN + SLOT);
    for (const steps of this.#left.values()) {
      while (steps.length > 1 && now - steps[1].time > SPAN) steps.shift();
    }
  }

  get isMoving() {
    return this.#answers.length > 0 || [...this.#left.values()].some((steps) => steps.length > 1);
  }

  // How high it gets above the line, and below it.
  peaks() {
    const stacks = [...this.#stacks().values()].map((stack) => [stack[0], stack.length]);
    const highest = (isAdmitted) => stacks
      .filter(([answer]) => answer.isAdmitted === isAdmitted)
      .map(([, size]) => size);
    const left = [...this.#left.values()].flat().map((step) => step.left);
    return [Math.max(0, ...highest(true), ...left), Math.max(0, ...highest(false))];
  }

  // With room for so many above the line and below it, in these colors, for these clients.
  draw(now, [above, below], colors, clients) {
    const { width, height, context } = clearCanvas(this.#canvas);
    const unit = (height - AXIS) / (above + below + 1);
    const line = Math.round((above + .5) * unit);
    const x = (time) => width - ((now - time) / SPAN) * width;
    const picture = { context, colors, unit, line, x, width };

    drawAxis(picture, height);
    for (const client of clients) drawLeft(picture, client, this.#left.get(client) ?? []);
    for (const stack of this.#stacks().values()) drawStack(picture, stack, clients.length);
    context.fillStyle = colors.muted;
    context.fillRect(0, line, width, 1);
  }

  // The blocks that stand on each other: of one slot, client and outcome.
  #stacks() {
    const stack = ({ time, client, isAdmitted }) =>
      `${Math.floor(time / SLOT)} ${client} ${isAdmitted}`;
    return Map.groupBy(this.#answers, stack);
  }
}

function drawAxis({ context, colors, width }, height) {
  context.font = "11px system-ui, sans-serif";
  for (const [seconds, align] of [[20, "center"], [10, "center"], [0, "right"]]) {
    const x = width - (seconds * 1_000 / SPAN) * width;
    context.fillStyle = colors.line;
    context.fillRect(Math.min(Math.round(x), width - 1), 0, 1, height - AXIS);
    context.fillStyle = colors.muted;
    context.textAlign = align;
    context.fillText(seconds ? `${seconds} s ago` : "now", x, height - 3);
  }
}

// An area for alice, and a dashed line for bob.
function drawLeft({ context, colors, unit, line, x, width }, client, steps) {
  context.beginPath();
  steps.forEach(({ time, left }, index) => {
    const end = index + 1 < steps.length ? x(steps[index + 1].time) : width;
    context.lineTo(index ? x(time) : Math.min(x(time), 0), line - left * unit);
    context.lineTo(end, line - left * unit);
  });
  context.globalAlpha = .55;
  context.lineWidth = 1.5;
  context.strokeStyle = colors.admitted;
  context.setLineDash(client === "alice" ? [] : [4, 3]);
  context.stroke();
  context.setLineDash([]);
  if (client === "alice") {
    context.lineTo(width, line);
    context.lineTo(0, line);
    context.globalAlpha = .12;
    context.fillStyle = colors.admitted;
    context.fill();
  }
  context.globalAlpha = 1;
}

// Away from the line, each client's in a column of its own: alice's filled, bob's hollow.
function drawStack({ context, colors, unit, line, x }, stack, columns) {
  const [{ time, client, isAdmitted }] = stack;
  const start = Math.floor(time / SLOT) * SLOT;
  const width = (x(start + SLOT) - x(start)) / columns;
  const inset = client === "alice" ? 0 : .75;
  const left = x(start) + (client === "alice" ? 0 : (columns - 1) * width) + inset;
  const color = colors[isAdmitted ? "admitted" : "denied"];
  context.lineWidth = 1.5;
  context.fillStyle = color;
  context.strokeStyle = color;
  context.beginPath();
  for (const level of stack.keys()) {
    const top = isAdmitted ? line - (level + 1) * unit : line + 2 + level * unit;
    const size = (whole) => Math.max(whole - 1.5 - 2 * inset, .5);
    context.roundRect(left, top + inset, size(width), size(unit), 1.5);
  }
  if (client === "alice") context.fill();
  else context.stroke();
}
