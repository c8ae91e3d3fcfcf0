// GAN Lab's lesson with the real engine.
import { html, useState, useEffect, useRef, useSettings, settings, t, known, Head, Segments, number, whole, post, attempt, announce, toast, isDark } from "../core.js";
import { Chart } from "../chart.js";
import { drawFrame } from "../labview.js";

const BASE = {
  dims: 2, data: "ring", drawn: [], game: "r3gan", penalties: {}, d_steps: 1, latent: 2, noise: "uniform",
  width: 32, depth: 2, d_width: 32, d_depth: 2, rate_g: 0.002, rate_d: 0.002, momentum: 0, optimiser: "adam", batch: 128, seed: 0,
};
const DATA = { 1: ["bump", "two-bumps", "three-bumps", "flat", "drawn"], 2: ["blob", "corner", "ring", "grid", "two-blobs", "spiral", "moons", "point", "drawn"] };
const GAMES = ["gan", "minimax", "lsgan", "hinge", "wgan", "wgan-gp", "dragan", "r3gan", "ebgan", "began"];
const PENALTIES = ["r1", "r2", "gp", "lecam"];
// Each shows one thing; `cure` is what to change to mend it.
export const PRESETS = {
  works: { setup: {} },
  line: { setup: { dims: 1, data: "two-bumps", latent: 1, game: "gan", penalties: { r1: 0.1 }, rate_g: 0.0005, rate_d: 0.005, batch: 256 } },
  collapse: { setup: { game: "gan", rate_g: 0.005, rate_d: 0.001, momentum: 0.5 }, cure: { game: "r3gan", rate_g: 0.002, rate_d: 0.002, momentum: 0 } },
  cycling: { setup: { data: "point", game: "gan", optimiser: "sgd", rate_g: 0.1, rate_d: 0.1, depth: 0, d_depth: 0, latent: 1, seed: 5 }, cure: { penalties: { r1: 1 } } },
  vanishing: { setup: { data: "corner", game: "minimax", rate_g: 0.001, rate_d: 0.005, d_steps: 5, momentum: 0.5 }, cure: { game: "wgan-gp", rate_g: 0.0005, rate_d: 0.002, momentum: 0 } },
};
const PACES = { slow: [1, 350], normal: [4, 0], fast: [25, 0] };
const LAYERS = ["field", "best", "real", "fake", "grid", "pull"];
const HISTORY = 600;

export default function Lab() {
  useSettings();
  const [setup, setSetup] = useState(BASE);
  const [preset, setPreset] = useState("works");
  const [world, setWorld] = useState(null); // what the server said when the session opened
  const [frame, setFrame] = useState(null);
  const [past, setPast] = useState([]);
  const [playing, setPlaying] = useState(false);
  const [pace, setPace] = useState("normal");
  const [layers, setLayers] = useState({ field: true, real: true, fake: true, grid: false, pull: true, best: false });
  const [drawing, setDrawing] = useState(false);
  const [ready, setReady] = useState(false);
  const session = useRef(null), alive = useRef(true), asked = useRef(0);

  const take = (next) => { setFrame(next); setPast((old) => [...(old.length > HISTORY ? old.filter((_, i) => i % 2 || i === old.length - 1) : old), brief(next)]); };
  const reset = async (now = setup) => {
    const mine = ++asked.current; // of two set-ups in a row the later one counts
    setPlaying(false);
    setReady(false);
    session.current = null;
    if (now.data === "drawn" && now.drawn.length < 5) { setDrawing(true); setFrame(null); setWorld(null); setPast([]); return; }
    await attempt(async () => {
      const opened = await (await post("/api/lab", now)).json();
      if (!alive.current || mine !== asked.current) return;
      session.current = opened.session;
      setReady(true);
      setWorld({ ...opened, dims: now.dims, latent: now.latent });
      setFrame(opened.frame);
      setPast([brief(opened.frame)]);
    });
  };
  useEffect(() => { reset(); return () => { alive.current = false; }; }, []);
  const change = (more) => { const now = { ...setup, ...more }; setSetup(now); setDrawing(false); reset(now); };
  const choose = (name) => { setPreset(name); const now = { ...BASE, ...PRESETS[name].setup }; setSetup(now); setDrawing(false); reset(now); };
  const step = async (turns, only = "both") => {
    const at = session.current;
    const next = await (await post(`/api/lab/${at}`, { turns, only })).json();
    if (alive.current && at === session.current) take(next);
    return next;
  };
  useEffect(() => {
    if (!playing) return;
    let on = true;
    (async () => {
      let told = 0;
      while (on && session.current) {
        const [turns, wait] = PACES[pace];
        try {
          const next = await step(turns);
          if (next.broken) { toast(t("lab.broken"), true); setPlaying(false); return; }
          if (Date.now() - told > 8000) { told = Date.now(); announce(words(next)); }
        } catch (e) { toast(e.message, true); setPlaying(false); return; }
        await new Promise((r) => (wait ? setTimeout(r, wait) : requestAnimationFrame(r)));
        if (document.hidden) await new Promise((r) => setTimeout(r, 500));
      }
    })();
    return () => { on = false; };
  }, [playing, pace]);

  const cure = PRESETS[preset]?.cure;
  const cured = cure && Object.entries(cure).every(([k, v]) => JSON.stringify(setup[k]) === JSON.stringify(v));
  return html`
    <${Head} title=${t("page.lab")} lede=${t("lab.lede")} />
    <div class="presets" role="group" aria-label=${t("lab.presets")}>${Object.keys(PRESETS).map((name) => html`<button key=${name} aria-pressed=${preset === name} onClick=${() => choose(name)}><b>${t(`lab.preset.${name}`)}</b><small>${t(`lab.preset.${name}.short`)}</small></button>`)}</div>
    <div class="lab">
      <section class="card stage" aria-labelledby="lab-view"><h2 id="lab-view" class="visually-hidden">${t("lab.view")}</h2>
        <${View} world=${world} frame=${frame} layers=${layers} setup=${setup} drawing=${drawing} onDrawn=${(drawn) => change({ data: "drawn", drawn })} />
        <p class="reading" data-testid="reading">${frame ? words(frame) : t(drawing ? "lab.draw" : "lab.opening")}</p>
        <div class="row transport">
          <button class="primary" onClick=${() => setPlaying(!playing)} disabled=${!ready}>${playing ? t("lab.pause") : t("lab.play")}</button>
          <button onClick=${() => attempt(() => step(1))} disabled=${playing || !ready}>${t("lab.step")}</button>
          <button onClick=${() => attempt(() => step(1, "D"))} disabled=${playing || !ready}>${t("lab.stepD")}</button>
          <button onClick=${() => attempt(() => step(1, "G"))} disabled=${playing || !ready}>${t("lab.stepG")}</button>
          <button onClick=${() => reset()}>${t("lab.reset")}</button>
          <${Segments} label=${t("lab.pace")} value=${pace} onChange=${setPace} options=${Object.keys(PACES).map((p) => [p, t("lab.pace." + p)])} />
        </div>
        <div class="row layers" role="group" aria-label=${t("lab.layers")}>${LAYERS.filter((l) => l !== "best" || frame?.best).map((l) => html`<label class="check" key=${l}><input type="checkbox" checked=${layers[l]} onChange=${(e) => setLayers({ ...layers, [l]: e.target.checked })} /><i class=${"swatch " + l}></i>${t("lab.layer." + l)}</label>`)}</div>
      </section>
      <div class="side">
        <section class="card lesson"><h2>${t(`lab.preset.${preset}`)}</h2><p>${t(`lab.preset.${preset}.text`)}</p>
          ${cure && html`<p class="row"><button class="primary" disabled=${cured} onClick=${() => change(cure)}>${t("lab.cure")}</button>${cured && html`<button onClick=${() => choose(preset)}>${t("lab.uncure")}</button>`}</p><p class="sub">${t(`lab.preset.${preset}.cure`)}</p>`}</section>
        <${Controls} setup=${setup} change=${change} drawing=${drawing} setDrawing=${setDrawing} />
      </div>
    </div>
    ${frame && world && html`<${Curves} past=${past} world=${world} />`}`;
}

const brief = (f) => ({ step: f.step, loss: f.loss, theory: f.theory, distance: f.distance, reads: f.reads, more: f.more });

function words(f) {
  const parts = [t("lab.read.step", { n: whole(f.step) }), t("lab.read.distance", { d: number(f.distance, 2) })];
  if (f.modes) parts.push(t("lab.read.modes", { found: f.modes.found, of: f.modes.of }));
  parts.push(t("lab.read.says", { real: number(f.reads.real, 2), fake: number(f.reads.fake, 2) }));
  return parts.join(" · ");
}

function View({ world, frame, layers, setup, drawing, onDrawn }) {
  const canvas = useRef(), strokes = useRef([]), held = useRef(false), [pen, setPen] = useState([0, 0]), [count, setCount] = useState(0);
  const dims = setup.dims, reach = world?.reach ?? 2;
  useEffect(() => { strokes.current = []; setCount(0); }, [drawing, dims]);
  useEffect(() => {
    const paint = () => drawFrame(canvas.current, { world, frame, layers, dims, reach, drawing, strokes: strokes.current, pen });
    paint();
    const watch = new ResizeObserver(paint);
    watch.observe(canvas.current);
    return () => watch.disconnect();
  });
  const put = (x, y) => {
    if (Math.abs(x) >= reach || Math.abs(y) >= reach || strokes.current.length >= 1500) return;
    strokes.current.push(dims === 1 ? [x] : [x, y]);
    if (dims === 1) { // height is weight
      const more = Math.round(((y + reach) / (2 * reach)) * 4);
      for (let i = 0; i < more; i++) strokes.current.push([Math.min(Math.max(x + (Math.random() - 0.5) * 0.08, -1.99), 1.99)]);
    }
    setCount(strokes.current.length);
  };
  const at = (e) => {
    const { left, top, width, height } = canvas.current.getBoundingClientRect();
    return [((e.clientX - left) / width) * 2 * reach - reach, reach - ((e.clientY - top) / height) * 2 * reach];
  };
  const keys = (e) => {
    if (!drawing) return;
    const move = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[e.key];
    if (move) { e.preventDefault(); setPen(pen.map((v, i) => Math.min(Math.max(v + move[i], -1.9), 1.9))); }
    if (e.key === " ") { e.preventDefault(); for (let i = 0; i < 8; i++) put(pen[0] + (Math.random() - 0.5) * 0.1, pen[1] + (Math.random() - 0.5) * 0.1); announce(t("lab.points", { n: strokes.current.length })); }
    if (e.key === "Enter" && strokes.current.length >= 5) onDrawn(strokes.current.slice(0, 4000));
  };
  return html`<div class=${"labview d" + dims}>
    <canvas ref=${canvas} tabindex="0" role="img" aria-label=${drawing ? t("lab.drawKeys") : t("lab.canvas", { words: frame ? words(frame) : "" })} class=${drawing ? "drawing" : ""} onKeyDown=${keys}
      onPointerDown=${(e) => { if (!drawing) return; held.current = true; e.currentTarget.setPointerCapture(e.pointerId); put(...at(e)); }}
      onPointerMove=${(e) => drawing && held.current && put(...at(e))} onPointerUp=${() => { held.current = false; }}></canvas>
    ${drawing && html`<div class="row drawbar"><span>${t("lab.points", { n: count })}</span><button class="primary" disabled=${count < 5} onClick=${() => onDrawn(strokes.current.slice(0, 4000))}>${t("lab.use")}</button></div>`}
  </div>`;
}

function Controls({ setup: s, change, drawing, setDrawing }) {
  const select = (key, options, label, name = (o) => o, read = (v) => v) => html`<label class="field">${label}<select value=${s[key]} onChange=${(e) => change({ [key]: read(e.target.value) })}>${options.map((o) => html`<option key=${o} value=${o}>${name(o)}</option>`)}</select></label>`;
  const rates = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3];
  const widths = [4, 8, 16, 32, 64, 128];
  const near = (list, v) => (list.includes(v) ? list : [...list, v].sort((a, b) => a - b));
  const data = (d) => (d === "drawn" ? setDrawing(true) : change({ data: d }));
  return html`<section class="card labcontrols" aria-label=${t("lab.controls")}>
    <div><h3>${t("lab.data")}</h3>
      <${Segments} label=${t("lab.dims")} value=${s.dims} onChange=${(dims) => change({ dims, data: DATA[dims][1], latent: dims })} options=${[[1, t("lab.one")], [2, t("lab.two")]]} />
      <div class="chips spaced" role="group" aria-label=${t("lab.data")}>${DATA[s.dims].map((d) => html`<button key=${d} aria-pressed=${drawing ? d === "drawn" : s.data === d} onClick=${() => data(d)}>${t("lab.data." + d)}</button>`)}</div></div>
    <div><h3>${t("lab.game")}</h3>
      <div class="chips" role="group" aria-label=${t("lab.game")}>${GAMES.map((g) => html`<button key=${g} aria-pressed=${s.game === g} onClick=${() => change({ game: g })}>${t("lab.game." + g)}</button>`)}</div>
      <p class="sub formula">${t(`lab.game.${s.game}.text`)}</p></div>
    <div><h3>${t("lab.penalties")}</h3><div class="penalties">${PENALTIES.map((p) => html`<label class="field" key=${p}>${t("lab.penalty." + p)}<select value=${s.penalties[p] ?? 0} onChange=${(e) => change({ penalties: +e.target.value ? { ...s.penalties, [p]: +e.target.value } : Object.fromEntries(Object.entries(s.penalties).filter(([k]) => k !== p)) })}>
      ${near([0, 0.01, 0.05, 0.1, 0.3, 1, 3, 10], s.penalties[p] ?? 0).map((w) => html`<option key=${w} value=${w}>${w === 0 ? t("lab.off") : number(w, 2)}</option>`)}</select></label>`)}</div></div>
    <details><summary>${t("lab.more")}</summary><div class="fields">
      ${select("rate_d", near(rates, s.rate_d), t("lab.rateD"), (o) => o, Number)}${select("rate_g", near(rates, s.rate_g), t("lab.rateG"), (o) => o, Number)}
      ${select("d_steps", [1, 2, 3, 5, 10], t("lab.dSteps"), undefined, Number)}${select("batch", [16, 32, 64, 128, 256, 512], t("lab.batch"), undefined, Number)}
      ${select("d_width", near(widths, s.d_width), t("lab.dWidth"), undefined, Number)}${select("width", near(widths, s.width), t("lab.gWidth"), undefined, Number)}
      ${select("d_depth", [0, 1, 2, 3, 4], t("lab.dDepth"), undefined, Number)}${select("depth", [0, 1, 2, 3, 4], t("lab.gDepth"), undefined, Number)}
      ${select("latent", [1, 2], t("lab.latent"), undefined, Number)}${select("noise", ["uniform", "normal"], t("lab.noise"), (o) => t("lab.noise." + o))}
      ${select("optimiser", ["adam", "sgd"], t("lab.optimiser"))}${select("momentum", near([0, 0.5, 0.9], s.momentum), t("lab.momentum"), undefined, Number)}
      ${select("seed", [0, 1, 2, 3, 4, 5, 6, 7], t("explore.seed"), undefined, Number)}
    </div></details>
  </section>`;
}

function Curves({ past, world }) {
  const x = past.map((p) => p.step);
  const common = { x, xLabel: t("axis.step"), height: 170 };
  const losses = (who, colour) => {
    const list = [{ label: t("lab.loss." + who), colour, values: past.map((p) => p.loss[who]) }];
    if (past.some((p) => p.theory[who] !== null)) list.push({ label: t("lab.theory." + who), colour: "--third", values: past.map((p) => p.theory[who]) });
    return list;
  };
  const end = (who) => (world.end[who] === null ? undefined : { value: world.end[who], label: t("lab.end", { v: number(world.end[who], 3) }) });
  const says = [{ label: "D(x)", colour: "--real", values: past.map((p) => p.reads.real) }, { label: "D(G(z))", colour: "--fake", values: past.map((p) => p.reads.fake) }];
  const unit = world.shown && world.shown[0] === 0;
  const more = Object.keys(past[0]?.more ?? {}).map((name, i) => ({ label: name, colour: ["--third", "--fourth"][i % 2], values: past.map((p) => p.more[name]) }));
  return html`<div class="charts">
    <${Chart} ...${common} title=${t("lab.chart.D")} series=${losses("D", "--real")} line=${end("D")} />
    <${Chart} ...${common} title=${t("lab.chart.G")} series=${losses("G", "--fake")} line=${end("G")} />
    <${Chart} ...${common} title=${t("chart.says")} series=${says} range=${unit ? [0, 1] : undefined} line=${unit ? { value: 0.5, label: t("chart.half") } : { value: 0, label: "0" }} />
    ${more.length > 0 && html`<${Chart} ...${common} title=${t("lab.chart.more")} series=${more} />`}
    <${Chart} ...${common} title=${t("lab.chart.distance")} series=${[{ label: t("lab.jsd"), colour: "--fourth", values: past.map((p) => p.distance) }]} range=${[0, 0.7]} line=${{ value: world.worst, label: t("lab.apart") }} />
  </div>`;
}
