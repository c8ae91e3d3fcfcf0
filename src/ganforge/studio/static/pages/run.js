// One run, live.
import { html, useState, useEffect, useMemo, useRef, useFeed, useSettings, t, known, Head, Link, Segments, Ask, number, whole, duration, post, json, path, sampleUrl, toast, attempt } from "../core.js";
import { Chart, Histogram, paint } from "../chart.js";
import { Board, release, sounding } from "../sound.js";
import { Verdict, State, lowerIsBetter, manner } from "../parts.js";

const MOST_POINTS = 3000;

// The run as the server tells it: everything first, then what is new.
function useRun(key) {
  const [run, setRun] = useState(null);
  const [gone, setGone] = useState(false);
  const broken = useFeed(`/api/runs/${path(key)}/live`, {
    first: (all) => { setGone(false); setRun(all); },
    gone: () => setGone(true),
    news: ({ series, histogram, ...news }) => setRun((old) => {
      if (!old) return old;
      const now = { ...old, ...news };
      if (series) now.series = joined(old.series, series);
      if (histogram) now.histograms = [...old.histograms.filter((h) => !h.passing), histogram];
      return now;
    }),
  });
  const crowded = (run?.series.step?.length ?? 0) > MOST_POINTS;
  useEffect(() => {
    if (crowded) attempt(async () => { const { series } = await json(`/api/runs/${path(key)}/series`); setRun((old) => ({ ...old, series })); });
  }, [crowded]);
  return { run, gone, broken };
}

function joined(old, more) {
  const now = {}, before = old.step?.length ?? 0, after = more.step.length;
  for (const name of new Set([...Object.keys(old), ...Object.keys(more)])) {
    now[name] = (old[name] ?? Array(before).fill(null)).concat(more[name] ?? Array(after).fill(null));
  }
  return now;
}


export default function Run({ name }) {
  useSettings();
  const { run, gone, broken } = useRun(name);
  const [axis, setAxis] = useState("step");
  const [zoom, setZoom] = useState(null);
  const [shownStep, setShownStep] = useState(null);
  const [ask, setAsk] = useState(null);
  if (gone) return html`<p class="empty" role="alert">${t("run.gone")}</p>`;
  if (!run) return html`<p class="empty">${broken ? t("lost") : t("loading")}</p>`;
  const s = run.summary;
  const act = (kind, value) => async () => { await post(`/api/runs/${path(name)}/request`, { kind, ...value }); toast(t("done." + kind)); };
  const live = s.state === "training";
  const questions = {
    stop: { danger: true, run: act("stop") }, save: { run: act("save") },
    rate: { field: { label: t("ask.rate.field"), value: 0.5, min: 0.001, max: 10 }, run: (v) => act("rate", { value: +v })() },
    resume: {
      field: { label: t("ask.resume.field"), value: "", min: 0.01, optional: true },
      run: async (v) => { await post(`/api/runs/${path(name)}/resume`, v ? { minutes: +v } : {}); toast(t("done.resume")); },
    },
  };
  const question = (kind) => setAsk({ title: t("ask." + kind), text: t(`ask.${kind}.text`), confirm: t("do." + kind), ...questions[kind] });
  return html`
    <${Head} title=${s.name} crumb=${html`<${Link} to="/">${t("page.runs")}<//> › ${s.recipe ? t("on", { recipe: s.recipe, data: s.data ?? "?" }) : ""}`}>
      <${State} state=${s.state} />
      <div class="row">
        <${Link} to=${"/explore/" + path(name)} class="button">${t("exploreThis")}<//>
        ${live ? html`<button onClick=${() => question("save")}>${t("do.save")}</button>
          <button onClick=${() => question("rate")}>${t("do.rate")}</button>
          <button class="danger" onClick=${() => question("stop")}>${t("do.stop")}</button>`
        : html`<button class="primary" onClick=${() => question("resume")}>${t("do.resume")}</button>`}
      </div>
    <//>
    ${broken && html`<p class="badge warn" role="alert">${t("lost")}</p>`}
    <div class="run">
      <div class="side">
        <${Samples} name=${name} samples=${run.samples} onStep=${setShownStep} sound=${s.sound} />
        ${s.sound && html`<${Sounds} name=${name} state=${s.state} />`}
      </div>
      <div class="side">
        <${Health} health=${s.health} />
        <${Numbers} s=${s} config=${run.config} />
        <${Says} run=${run} step=${shownStep} />
      </div>
    </div>
    <div class="toolbar spaced">
      <${Segments} label=${t("axis")} value=${axis} onChange=${setAxis} options=${["step", "images", "seconds"].map((a) => [a, t("axis." + a)])} />
      ${zoom ? html`<button onClick=${() => setZoom(null)}>${t("wholeRun")}</button>` : html`<p class="sub">${t("chart.drag")}</p>`}
    </div>
    <${Curves} name=${name} run=${run} axis=${axis} zoom=${zoom} setZoom=${setZoom} />
    <${Papers} run=${run} />
    <${Ask} ask=${ask} onClose=${() => setAsk(null)} />`;
}

function Health({ health }) {
  return html`<section class=${"card verdict " + manner(health?.verdict)} aria-labelledby="health">
    <div class="row"><h2 id="health">${t("health")}</h2>${health && html`<${Verdict} health=${health} />`}</div>
    ${health && known("say." + health.verdict) && document.documentElement.lang.startsWith("zh") ? html`<p class="sentence">${t("say." + health.verdict)}</p>
      <p class="remedy">${t("remedy")} ${t("do." + health.verdict)}</p><p class="sub" lang="en">${health.sentence} ${health.remedy}</p>`
    : health ? html`<div lang="en"><p class="sentence">${health.sentence}</p>
      ${health.remedy && html`<p class="remedy"><span lang="">${t("remedy")}</span> ${health.remedy}</p>`}</div>` : html`<p class="remedy">${t("health.none")}</p>`}
  </section>`;
}

function Numbers({ s, config }) {
  return html`<section class="card" aria-label=${t("step")}>
    <dl class="stats">
      <div><dt>${t("step")}</dt><dd>${whole(s.step)} ${config.steps && html`<small>${t("ofSteps", { n: whole(config.steps) })}</small>`}</dd></div>
      <div><dt>${t(s.sound ? "sound.count" : "images")}</dt><dd>${whole(s.images)}</dd></div>
      <div><dt>${t("elapsed")}</dt><dd>${duration(s.seconds)}</dd></div>
      ${s.state === "training" && html`<div><dt>${t("remaining")}</dt><dd>${duration(s.left)}</dd></div>
        <div><dt>${t(s.sound ? "sound.speed" : "speed")}</dt><dd>${whole(s.speed)}</dd></div>`}
    </dl>
    ${s.progress !== null && html`<div class="bar spaced" role="img" aria-label=${whole(s.progress * 100) + " %"}><div style=${{ width: s.progress * 100 + "%" }}></div></div>`}
  </section>`;
}

// What the run has kept to be heard, at its last end.
function Sounds({ name, state }) {
  const [sounds, setSounds] = useState(null);
  useEffect(() => {
    let current = true;
    attempt(async () => {
      const found = (await json(`/api/runs/${path(name)}/sounds`)).sounds;
      if (current) setSounds((old) => { release(old); return found.map(sounding); });
    });
    return () => { current = false; };
  }, [name, state]);
  return html`<section class="card" aria-labelledby="sounds"><h2 id="sounds">${t("sound.kept")}</h2>
    ${sounds?.length ? html`<${Board} sounds=${sounds} label=${t("sound.kept")} caption=${(s) => (s.name && Number.isNaN(+s.name) ? html`<small>${s.name}</small>` : null)} />`
    : html`<p class="sub">${t("sound.later")} <${Link} to=${"/explore/" + path(name)}>${t("page.explore")}<//></p>`}
  </section>`;
}

function Samples({ name, samples, onStep, sound }) {
  const [index, setIndex] = useState(null); // null: follow the newest
  const [playing, setPlaying] = useState(false);
  const last = samples.length - 1;
  const i = Math.min(index ?? last, last);
  const sample = samples[i];
  useEffect(() => onStep(index === null ? null : sample?.[0] ?? null), [index, sample?.[0]]);
  useEffect(() => {
    if (!playing) return;
    const pictures = samples.map((s) => { const p = new Image(); p.src = sampleUrl(name, s); return p; });
    let at = i >= last ? 0 : i;
    setIndex(at);
    const timer = setInterval(() => {
      if (!pictures[at + 1]?.complete && at < last) return; // wait for the picture, do not skip it
      at += 1;
      if (at >= last) { setPlaying(false); setIndex(null); } else setIndex(at);
    }, Math.min(250, Math.max(60, 8000 / samples.length)));
    return () => clearInterval(timer);
  }, [playing]);
  if (!samples.length) return html`<section class="card"><h2>${t("samples")}</h2><div class="picture">${t("noPicture")}</div></section>`;
  const move = (to) => { setPlaying(false); setIndex(to >= last ? null : Math.max(0, to)); };
  return html`<section class="card" aria-labelledby="samples">
    <div class="row between"><h2 id="samples">${t("samples")}</h2><span class="sub">${t("step")} ${whole(sample[0])}</span></div>
    <div class="picture"><img src=${sampleUrl(name, sample)} alt=${t(sound ? "sound.sampleAlt" : "sampleAlt", { n: whole(sample[0]) })} /></div>
    ${sound && html`<p class="sub">${t("sound.axes")}</p>`}
    <div class="scrub">
      <input type="range" min="0" max=${last} value=${i} aria-label=${t("scrubber")} aria-valuetext=${`${t("step")} ${whole(sample[0])}, ${t("pictureOf", { i: i + 1, n: last + 1 })}`}
        onInput=${(e) => move(+e.target.value)} />
      <div class="row">
        <button onClick=${() => setPlaying(!playing)} disabled=${last < 1}>${playing ? t("pause") : t("play")}</button>
        <button onClick=${() => move(i - 1)} disabled=${i <= 0} aria-label=${t("previous")}>‹</button>
        <button onClick=${() => move(i + 1)} disabled=${i >= last} aria-label=${t("next")}>›</button>
        <button aria-pressed=${index === null} onClick=${() => move(last)}>${t("newest")}</button>
        <a class="button push" href=${sampleUrl(name, sample)} download=${`${name.replaceAll("~1", "-")}-${sample[0]}.png`}>${t("download")}</a>
      </div>
    </div>
  </section>`;
}

// D(x) and D(G(z)), sample by sample, at the step that the scrubber shows.
function Says({ run, step }) {
  const all = run.histograms;
  let histogram = all[all.length - 1];
  if (step !== null) histogram = all.reduce((a, b) => (Math.abs(b.step - step) < Math.abs(a.step - step) ? b : a), histogram);
  return html`<${Histogram} title=${t("chart.histogram")} histogram=${histogram} note=${histogram && `${t("step")} ${whole(histogram.step)}`} />`;
}

function Curves({ name, run, axis, zoom, setZoom }) {
  const [close, setClose] = useState(null);
  useEffect(() => {
    if (!zoom) { setClose(null); return; }
    const stop = new AbortController();
    attempt(async () => setClose((await json(`/api/runs/${path(name)}/series?low=${zoom[0]}&high=${zoom[1]}`, { signal: stop.signal })).series));
    return () => stop.abort();
  }, [zoom]);
  const series = close ?? run.series;
  const x = series[axis] ?? [];
  const steps = series.step ?? [];
  // A stretch chosen along any axis is asked for by step.
  const onRange = (low, high) => {
    if (low === null) return setZoom(null);
    const inside = steps.filter((_, i) => x[i] >= low && x[i] <= high);
    if (inside.length > 1) setZoom([inside[0], inside[inside.length - 1]]);
  };
  const common = { x, xLabel: t("axis." + axis), xTime: axis === "seconds" ? duration : undefined, onRange };
  const names = Object.keys(series);
  const group = (prefix) => names.filter((n) => n.startsWith(prefix)).map((n, i) => ({ label: n.slice(prefix.length), values: series[n], colour: paint(i) }));
  const players = [...new Set(names.filter((n) => n.startsWith("loss/")).map((n) => n.split("/")[1]))];
  const readings = group("reading/");
  const unit = readings.every((r) => r.values.every((v) => v === null || (v >= 0 && v <= 1)));
  const scores = useMemo(() => {
    const kept = run.scores.filter((r) => !zoom || (r.step >= zoom[0] && r.step <= zoom[1]));
    const metrics = [...new Set(kept.flatMap((r) => Object.keys(r.score)))];
    return metrics.map((m) => ({
      name: m, x: kept.map((r) => r[axis]),
      series: [{ label: m, colour: "--third", values: kept.map((r) => r.score[m]?.value ?? null), low: kept.map((r) => r.score[m]?.low ?? null), high: kept.map((r) => r.score[m]?.high ?? null) }],
    }));
  }, [run.scores, axis, zoom]);
  if (!x.length) return null;
  return html`<div class="charts">
    ${scores.map((c) => html`<${Chart} key=${c.name} ...${common} x=${c.x} title=${t("chart.score", { name: c.name })} note=${t(lowerIsBetter(c.name) ? "lower" : "higher")} series=${c.series} />`)}
    ${readings.length > 0 && html`<${Chart} ...${common} title=${t("chart.says")} series=${readings} range=${unit ? [0, 1] : undefined} line=${unit ? { value: 0.5, label: t("chart.half") } : undefined} />`}
    ${players.map((p) => html`<${Chart} key=${p} ...${common} title=${t("chart.lossOf", { player: p })} series=${group(`loss/${p}/`)} />`)}
    <${Chart} ...${common} title=${t("chart.grad")} series=${group("grad/")} log />
    <${Chart} ...${common} title=${t("chart.rate")} series=${group("rate/")} />
    <${Chart} ...${common} title=${t("chart.speed")} series=${[{ label: t("speed"), values: series.speed ?? [], colour: "--fourth" }]} />
  </div>`;
}

function Papers({ run }) {
  const flat = (o, at = "") => Object.entries(o ?? {}).flatMap(([k, v]) => (v && typeof v === "object" && !Array.isArray(v) && Object.keys(v).length ? flat(v, at + k + ".") : [[at + k, v]]));
  return html`<div class="charts">
    <section class="card"><details open><summary>${t("events")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("events")}><table>
      <thead><tr><th>${t("event")}</th><th class="num">${t("step")}</th><th class="num">${t("time")}</th><th></th></tr></thead>
      <tbody>${[...run.events].reverse().map((e, i) => html`<tr key=${i}><td>${known("event." + e.event) ? t("event." + e.event) : e.event}</td><td class="num">${whole(e.step)}</td><td class="num">${duration(e.seconds)}</td><td lang="en">${e.message}</td></tr>`)}</tbody>
    </table></div></details></section>
    <section class="card"><details open><summary>${t("configuration")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("configuration")}><table>
      <thead><tr><th>${t("setting")}</th><th>${t("value")}</th></tr></thead>
      <tbody>${flat(run.config).map(([k, v]) => html`<tr key=${k}><th scope="row">${k}</th><td><code>${typeof v === "string" ? v : JSON.stringify(v)}</code></td></tr>`)}</tbody>
    </table></div></details></section>
    ${run.reports.length > 0 && html`<section class="card"><details><summary>${t("reports")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("reports")}>
      ${run.reports.map((r, i) => html`<table key=${i}><tbody>${flat(r).map(([k, v]) => html`<tr key=${k}><th scope="row">${k}</th><td><code>${typeof v === "number" ? number(v, 5) : JSON.stringify(v)}</code></td></tr>`)}</tbody></table>`)}</div></details></section>`}
  </div>`;
}
