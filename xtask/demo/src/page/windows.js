// A chart of windows: how much each of the last minute's admitted, beside the limit and the bound.

import { clearCanvas } from "./canvas.js";

const AXIS = 16; // pixels, for the text below
const SPAN = 60; // seconds, from the left to the right

export class WindowChart {
  #canvas;
  #range;

  // `range` gives the lowest and the highest number that have room, of a limit and its bound.
  constructor(canvas, range) {
    this.#canvas = canvas;
    this.#range = range;
  }

  draw(state, colors) {
    const { width, height, context } = clearCanvas(this.#canvas);
    const [low, high] = this.#range(state.limit, state.excess_max);
    const slots = SPAN * 1_000 / state.slot_ms;
    const picture = {
      context, colors, width, base: height - AXIS,
      x: (slot) => width - ((state.last_slot - slot) / slots) * width,
      y: (count) => (height - AXIS) * (1 - (count - low) / (high - low)),
    };
    drawAxis(picture);
    drawEvents(picture, state.events);
    drawCounts(picture, state);
    drawLevel(picture, state.limit, colors.ink, []);
    drawLevel(picture, state.limit + state.excess_max, colors.denied, [5, 4]);
  }
}

function drawAxis({ context, colors, width, base }) {
  context.font = "11px system-ui, sans-serif";
  for (const [seconds, align] of [[40, "center"], [20, "center"], [0, "right"]]) {
    const x = width - (seconds / SPAN) * width;
    context.fillStyle = colors.line;
    context.fillRect(Math.min(Math.round(x), width - 1), 0, 1, base);
    context.fillStyle = colors.muted;
    context.textAlign = align;
    context.fillText(seconds ? `${seconds} s ago` : "now", x, base + AXIS - 3);
  }
}

function drawEvents({ context, colors, base, x }, events) {
  context.fillStyle = colors.muted;
  context.textAlign = "left";
  for (const { slot, number, is_kill } of events) {
    context.fillRect(Math.round(x(slot)), 0, 1.5, base);
    context.fillText(`${number} ${is_kill ? "killed" : "started"}`, x(slot) + 5, base - 6);
  }
}

// An area below a line; what is out of range is cut off.
function drawCounts({ context, colors, width, base, x, y }, { admitted, last_slot }) {
  if (!admitted.length) return;
  const first = last_slot - admitted.length + 1;
  context.save();
  context.beginPath();
  context.rect(0, 0, width, base);
  context.clip();
  context.beginPath();
  admitted.forEach((count, index) => context.lineTo(x(first + index), y(count)));
  context.lineWidth = 1.5;
  context.strokeStyle = colors.admitted;
  context.stroke();
  context.lineTo(width, base);
  context.lineTo(x(first), base);
  context.globalAlpha = .14;
  context.fillStyle = colors.admitted;
  context.fill();
  context.restore();
}

function drawLevel({ context, width, y }, count, color, dashes) {
  context.beginPath();
  context.moveTo(0, y(count));
  context.lineTo(width, y(count));
  context.lineWidth = 1.5;
  context.strokeStyle = color;
  context.setLineDash(dashes);
  context.stroke();
  context.setLineDash([]);
}
