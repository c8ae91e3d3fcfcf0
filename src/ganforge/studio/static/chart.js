// Curves by uPlot, with what it lacks: a legend that can be read aloud and operated, keys.
import uPlot from "./vendor/uplot.js";
import { html, useEffect, useLayoutEffect, useRef, useState, number, whole, t, announce, settings, isDark, useSettings } from "./core.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const PALETTE = ["--real", "--fake", "--third", "--fourth", "--fifth", "--warn", "--ok", "--bad"];
export const paint = (i) => PALETTE[i % PALETTE.length];

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3]];

/* A chart.
   x: ascending numbers; series: [{ label, values, colour: "--real", low, high }] (low and high
   make an interval); line: { value, label }, a level to look at; log: logarithmic y;
   onRange(low, high): a stretch was chosen with the pointer; null, null: all again. */
export function Chart({ title, x, series, line, log = false, range, height = 190, xLabel, xTime, onRange, note }) {
  useSettings();
  const box = useRef(), plot = useRef(), state = useRef({});
  const [hidden, setHidden] = useState({});
  const [at, setAt] = useState(null);
  const shape = JSON.stringify([series.map((s) => [s.label, s.colour, !!s.low]), line, log, range, isDark(), settings.language, height, !!onRange]);
  state.current = { x, series, onRange, setAt };
  const data = () => [x, ...series.flatMap((s) => (s.low ? [s.values, s.low, s.high] : [s.values]))];

  useLayoutEffect(() => {
    const soft = colour("--soft"), grid = colour("--grid");
    const lines = [{}], bands = [];
    series.forEach((s, i) => {
      const stroke = colour(s.colour);
      lines.push({ label: s.label, stroke, width: 1.6, dash: DASHES[Math.floor(i / PALETTE.length)], spanGaps: true, points: { show: (u) => u.data[0].length < 30, size: 5, fill: stroke } });
      if (s.low) {
        const k = lines.length;
        for (let j = 0; j < 2; j++) lines.push({ stroke: "transparent", width: 0, spanGaps: true, points: { show: false } });
        bands.push({ series: [k + 1, k], fill: stroke + "2e" });
      }
    });
    const axis = { stroke: soft, font: "12px system-ui, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 } };
    const u = new uPlot({
      width: Math.max(box.current.clientWidth, 120), height,
      legend: { show: false }, padding: [8, 18, 0, 0],
      cursor: { drag: { x: !!onRange, y: false, setScale: false }, points: { size: 7 }, y: false },
      scales: { x: { time: false }, y: { distr: log ? 3 : 1, range } },
      axes: [
        { ...axis, size: 28, values: (_, v) => v.map((n) => (xTime ? xTime(n) : short(n))), space: 64 },
        { ...axis, size: 60, values: (_, v) => v.map((n) => (n === null ? "" : number(n, 3))) },
      ],
      series: lines, bands,
      hooks: {
        setCursor: [(c) => state.current.setAt(c.cursor.idx ?? null)],
        setSelect: [(c) => {
          if (c.select.width < 6) return;
          const low = c.posToVal(c.select.left, "x"), high = c.posToVal(c.select.left + c.select.width, "x");
          c.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          state.current.onRange?.(low, high);
        }],
        draw: [(c) => line && level(c, line, soft)],
      },
    }, data(), box.current);
    plot.current = u;
    const clear = () => state.current.onRange?.(null, null);
    u.over.addEventListener("dblclick", clear);
    const watch = new ResizeObserver(() => box.current && u.setSize({ width: Math.max(box.current.clientWidth, 120), height }));
    watch.observe(box.current);
    Object.entries(hidden).forEach(([i, h]) => h && show(u, series, +i, false));
    return () => { watch.disconnect(); u.destroy(); };
  }, [shape]);
  useEffect(() => {
    if (plot.current) plot.current.setData(data());
  }, [x, ...series.map((s) => s.values)]);

  const toggle = (i) => {
    const off = !hidden[i];
    setHidden({ ...hidden, [i]: off });
    show(plot.current, series, i, !off);
  };
  const keys = (e) => {
    const u = plot.current, steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[e.key];
    if (!u || !steps || !x.length) return;
    e.preventDefault();
    const i = Math.min(Math.max((at ?? x.length - 1) + steps, 0), x.length - 1);
    u.setCursor({ left: u.valToPos(x[i], "x"), top: 10 });
    setAt(i);
    announce(`${xLabel ?? ""} ${whole(x[i])}: ${series.map((s) => `${s.label} ${number(s.values[i])}`).join(", ")}`);
  };
  const row = at ?? x.length - 1;
  const value = (s) => { let i = row; while (i > 0 && (s.values[i] === null || s.values[i] === undefined)) i--; return s.values[i]; };
  const summary = series.map((s) => {
    const v = s.values.filter((n) => n !== null && n !== undefined);
    return v.length ? t("chart.summary", { name: s.label, last: number(v[v.length - 1]), low: number(Math.min(...v)), high: number(Math.max(...v)) }) : "";
  }).join(" ");
  return html`<figure class="card chart">
    <figcaption><h3>${title}</h3>${note && html`<small class="sub">${note}</small>`}</figcaption>
    <div class="plot" ref=${box} role="img" tabindex="0" aria-label=${`${title}. ${summary} ${t("chart.keys")}`} onKeyDown=${keys} onBlur=${() => setAt(null)}></div>
    <ul class="legend">${series.map((s, i) => html`<li key=${s.label}>
      <button type="button" aria-pressed=${!hidden[i]} onClick=${() => toggle(i)} style=${{ "--c": `var(${s.colour})` }}><i></i>${s.label} <b>${number(value(s))}</b>
      ${s.low && value({ values: s.low }) !== undefined && html`<span class="sub">${number(value({ values: s.low }))}…${number(value({ values: s.high }))}</span>`}</button></li>`)}
      ${at !== null && html`<li><button type="button" disabled>${xLabel} ${xTime ? xTime(x[at]) : whole(x[at])}</button></li>`}
    </ul></figure>`;
}

function show(u, series, i, visible) {
  let k = 1;
  for (let j = 0; j < i; j++) k += series[j].low ? 3 : 1;
  for (let j = 0; j < (series[i].low ? 3 : 1); j++) u.setSeries(k + j, { show: visible });
}

const short = (n) => (n === null ? "" : Math.abs(n) >= 1e6 ? number(n / 1e6, 3) + "M" : Math.abs(n) >= 1e4 ? number(n / 1e3, 3) + "k" : number(n, 4));

function level(u, { value, label }, ink) {
  const y = u.valToPos(value, "y", true), { left, top, width, height } = u.bbox;
  if (y < top || y > top + height) return;
  const c = u.ctx;
  c.save();
  c.strokeStyle = c.fillStyle = ink;
  c.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  c.beginPath(); c.moveTo(left, y); c.lineTo(left + width, y); c.stroke();
  c.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  c.textAlign = "right";
  c.setLineDash([]);
  c.strokeStyle = colour("--card");
  c.lineWidth = 4 * devicePixelRatio;
  c.lineJoin = "round";
  const above = y - top > 20 * devicePixelRatio ? y - 5 * devicePixelRatio : y + 13 * devicePixelRatio;
  c.strokeText(label, left + width - 4, above);
  c.fillText(label, left + width - 4, above);
  c.restore();
}

/* Two histograms over one another: what D says of real and of forged samples. */
export function Histogram({ histogram, title, note }) {
  const names = Object.keys(histogram ?? {}).filter((k) => Array.isArray(histogram[k]) && k !== "range");
  const [low, high] = histogram?.range ?? [0, 1];
  const W = 320, H = 150, base = H - 20;
  const shares = names.map((n) => { const v = histogram[n], sum = v.reduce((a, b) => a + b, 0) || 1; return v.map((c) => c / sum); });
  const top = Math.max(...shares.flat(), 1e-9);
  const mean = (v) => v.reduce((a, s, i) => a + s * (low + ((i + 0.5) / v.length) * (high - low)), 0);
  const at = (x) => ((x - low) / (high - low || 1)) * W;
  const outline = (v) => `M0,${base}` + v.map((s, i) => `L${(i * W) / v.length},${base - (s / top) * (base - 14)}L${((i + 1) * W) / v.length},${base - (s / top) * (base - 14)}`).join("") + `L${W},${base}Z`;
  const unit = low === 0 && high === 1;
  const words = names.map((n, i) => `${n}: ${t("mean")} ${number(mean(shares[i]))}`).join(", ");
  return html`<figure class="card chart">
    <figcaption><h3>${title}</h3>${note && html`<small class="sub">${note}</small>`}</figcaption>
    ${names.length ? html`<svg class="histogram" viewBox=${`0 0 ${W} ${H}`} role="img" aria-label=${`${title}. ${words}`}>
      ${shares.map((v, i) => html`<path key=${names[i]} d=${outline(v)} style=${{ fill: `var(${paint(i)})`, fillOpacity: 0.28, stroke: `var(${paint(i)})`, strokeWidth: 1.4 }} />`)}
      ${unit && html`<line x1=${W / 2} x2=${W / 2} y1="4" y2=${base} style=${{ stroke: "var(--soft)", strokeDasharray: "4 4" }} /><text x=${W / 2 + 4} y="13">1/2</text>`}
      ${shares.map((v, i) => html`<path key=${"m" + i} d=${`M${at(mean(v))},${base} l-5,8 h10 Z`} style=${{ fill: `var(${paint(i)})` }} />`)}
      <text x="0" y=${H - 4}>${number(low)}</text><text x=${W} y=${H - 4} text-anchor="end">${number(high)}</text>
    </svg>
    <ul class="legend">${names.map((n, i) => html`<li key=${n}><button type="button" disabled style=${{ "--c": `var(${paint(i)})`, opacity: 1 }}><i></i>${n} <b>${number(mean(shares[i]))}</b></button></li>`)}</ul>`
    : html`<p class="sub">${t("nothingYet")}</p>`}</figure>`;
}
