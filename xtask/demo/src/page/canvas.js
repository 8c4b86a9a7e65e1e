// The canvas of a chart.

// Empties a canvas, makes it as many pixels wide as it is on this screen, and returns its size and context.
export function clearCanvas(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  return { width, height, context };
}
