// Draws a frame of the lab: a plane with its field, or a line with its densities.
import { colour } from "./chart.js";

const rgb = (hex) => { const n = parseInt(hex.slice(1), 16); return [n >> 16, (n >> 8) & 255, n & 255]; };

export function drawFrame(canvas, { world, frame, layers, dims, reach, drawing, strokes, pen }) {
  if (!canvas) return;
  const ratio = Math.min(devicePixelRatio, 2), w = canvas.clientWidth, h = canvas.clientHeight;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, w, h);
  c.fillStyle = colour("--sunk");
  c.fillRect(0, 0, w, h);
  const ink = { real: colour("--real"), fake: colour("--fake"), soft: colour("--soft"), third: colour("--third"), line: colour("--line"), card: colour("--card"), ink: colour("--ink") };
  if (drawing) return draft(c, w, h, { dims, reach, strokes, pen, ink });
  if (!frame || !world || world.dims !== dims) return;
  if (dims === 2) plane(c, w, h, { world, frame, layers, reach, ink });
  else line(c, w, h, { world, frame, layers, reach, ink });
}

// What D says, as a share of its range: 0 is forged, 1 is real.
function share(world, v, span) {
  if (world.shown) return (v - world.shown[0]) / (world.shown[1] - world.shown[0]);
  return 0.5 + v / (2 * span);
}
const spanOf = (values) => Math.max(...values.map(Math.abs), 1e-6);

function plane(c, w, h, { world, frame, layers, reach, ink }) {
  const X = (x) => ((x + reach) / (2 * reach)) * w, Y = (y) => h - ((y + reach) / (2 * reach)) * h;
  const values = layers.best && frame.best ? frame.best : layers.field ? frame.field : null;
  if (values) {
    const n = world.axis.length, real = rgb(ink.real), fake = rgb(ink.fake), paper = rgb(ink.card), span = spanOf(values);
    const small = new OffscreenCanvas(n, n), s = small.getContext("2d"), image = s.createImageData(n, n);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) { // x is the slow axis
      const p = Math.min(Math.max(share(world, values[i * n + j], span), 0), 1);
      const to = p > 0.5 ? real : fake, a = Math.min(Math.abs(p - 0.5) * 2, 1) * 0.62, at = ((n - 1 - j) * n + i) * 4;
      for (let k = 0; k < 3; k++) image.data[at + k] = paper[k] * (1 - a) + to[k] * a;
      image.data[at + 3] = 255;
    }
    s.putImageData(image, 0, 0);
    c.imageSmoothingEnabled = true;
    c.imageSmoothingQuality = "high";
    c.drawImage(small, 0, 0, w, h);
  }
  if (layers.real) dots(c, frame.real, X, Y, ink.real, ink.card, 2.6);
  if (layers.grid) lattice(c, frame.grid, X, Y, ink.fake);
  if (layers.fake) dots(c, frame.fake, X, Y, ink.fake, ink.card, 2.6);
  if (layers.pull) {
    c.strokeStyle = ink.ink;
    c.lineWidth = 1.4;
    frame.pull.forEach(([dx, dy], i) => {
      const [x, y] = frame.fake[i];
      arrow(c, X(x), Y(y), X(x + dx * 0.32), Y(y + dy * 0.32));
    });
  }
}

function dots(c, points, X, Y, fill, rim, size) {
  c.fillStyle = fill;
  c.strokeStyle = rim;
  c.lineWidth = 0.8;
  for (const [x, y] of points) { c.beginPath(); c.arc(X(x), Y(y), size, 0, 7); c.fill(); c.stroke(); }
}

function lattice(c, grid, X, Y, ink) {
  c.strokeStyle = ink;
  c.lineWidth = 1;
  c.globalAlpha = 0.75;
  const n = grid.side, two = grid.x.length === n * n && n * n !== n;
  const path = (get, count) => { c.beginPath(); for (let i = 0; i < count; i++) { const [x, y] = grid.x[get(i)]; i ? c.lineTo(X(x), Y(y)) : c.moveTo(X(x), Y(y)); } c.stroke(); };
  if (two) for (let k = 0; k < n; k++) { path((i) => k * n + i, n); path((i) => i * n + k, n); }
  else path((i) => i, n);
  c.globalAlpha = 1;
}

function arrow(c, x0, y0, x1, y1) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length < 1.5) return;
  const a = Math.atan2(y1 - y0, x1 - x0), head = Math.min(5, length * 0.5);
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.lineTo(x1 - head * Math.cos(a - 0.5), y1 - head * Math.sin(a - 0.5));
  c.moveTo(x1, y1);
  c.lineTo(x1 - head * Math.cos(a + 0.5), y1 - head * Math.sin(a + 0.5));
  c.stroke();
}

// The classic figure: p dotted, q solid, D dashed, and below, arrows from z to x.
function line(c, w, h, { world, frame, layers, reach, ink }) {
  const base = h * 0.66, foot = h - 26, X = (x) => ((x + reach) / (2 * reach)) * w;
  const most = Math.max(...frame.p, ...(layers.fake ? frame.q : [0]), 0.8) * 1.08;
  const Y = (v) => base - (v / most) * (base - 14);
  const span = spanOf(frame.field), D = (v) => base - Math.min(Math.max(share(world, v, span), 0), 1) * (base - 14);
  const trace = (values, map, style, width, dash = [], fill) => {
    c.beginPath();
    values.forEach((v, i) => (i ? c.lineTo(X(world.axis[i]), map(v)) : c.moveTo(X(world.axis[i]), map(v))));
    if (fill) { c.save(); c.lineTo(X(world.axis[values.length - 1]), base); c.lineTo(X(world.axis[0]), base); c.closePath(); c.globalAlpha = 0.16; c.fillStyle = style; c.fill(); c.restore(); c.beginPath(); values.forEach((v, i) => (i ? c.lineTo(X(world.axis[i]), map(v)) : c.moveTo(X(world.axis[i]), map(v)))); }
    c.strokeStyle = style; c.lineWidth = width; c.setLineDash(dash); c.stroke(); c.setLineDash([]);
  };
  c.strokeStyle = ink.line; c.lineWidth = 1;
  if (world.shown) { c.setLineDash([3, 5]); c.strokeStyle = ink.soft; c.beginPath(); c.moveTo(0, D((world.shown[0] + world.shown[1]) / 2)); c.lineTo(w, D((world.shown[0] + world.shown[1]) / 2)); c.stroke(); c.setLineDash([]); }
  if (layers.real) trace(frame.p, Y, ink.real, 2.4, [2, 4], true);
  if (layers.fake) trace(frame.q, Y, ink.fake, 2.4, [], true);
  if (layers.best && frame.best) trace(frame.best, D, ink.third, 1.6, [1, 3]);
  if (layers.field) trace(frame.field, D, ink.ink, 2, [8, 5]);
  for (const y of [base, foot]) { c.strokeStyle = ink.soft; c.lineWidth = 1.2; c.beginPath(); c.moveTo(0, y); c.lineTo(w, y); c.stroke(); }
  const { z, x, side } = frame.grid, top = Math.max(...z.map(Math.abs));
  if (x.length === side) {
    c.strokeStyle = ink.fake; c.globalAlpha = 0.8; c.lineWidth = 1;
    for (let i = 0; i < side; i += 3) arrow(c, X((z[i] / top) * reach * 0.92), foot, X(Math.min(Math.max(x[i][0], -reach), reach)), base + 2);
    c.globalAlpha = 1;
  }
  if (layers.pull) {
    c.strokeStyle = ink.ink; c.lineWidth = 1.6;
    frame.pull.forEach(([d], i) => { if (i < 40) { const y = base - 4 - (i % 5) * 4; arrow(c, X(frame.fake[i][0]), y, X(frame.fake[i][0] + d * 0.35), y); } });
  }
  c.fillStyle = ink.soft; c.font = "italic 15px Georgia, 'DejaVu Serif', serif";
  c.fillText("x", 8, base - 6); c.fillText("z", 8, foot - 6);
}

function draft(c, w, h, { dims, reach, strokes, pen, ink }) {
  const X = (x) => ((x + reach) / (2 * reach)) * w, Y = (y) => h - ((y + reach) / (2 * reach)) * h;
  if (dims === 2) dots(c, strokes, X, Y, ink.real, ink.card, 3);
  else {
    const bins = Array(80).fill(0);
    strokes.forEach(([x]) => { bins[Math.min(79, Math.floor(((x + reach) / (2 * reach)) * 80))] += 1; });
    const top = Math.max(...bins, 12);
    c.fillStyle = ink.real;
    bins.forEach((b, i) => c.fillRect((i * w) / 80 + 1, h - (b / top) * h * 0.85, w / 80 - 2, (b / top) * h * 0.85));
  }
  c.strokeStyle = ink.ink;
  c.lineWidth = 1.5;
  const [x, y] = [X(pen[0]), Y(pen[1])];
  c.beginPath(); c.moveTo(x - 8, y); c.lineTo(x + 8, y); c.moveTo(x, y - 8); c.lineTo(x, y + 8); c.stroke();
}
