// Runs side by side, at equal time, images or steps.
import { html, useState, useEffect, useMemo, useSettings, t, Head, Link, Segments, number, whole, duration, json, path, attempt, go, thumbUrl, sampleUrl } from "../core.js";
import { Chart, paint } from "../chart.js";
import { Verdict, State, lowerIsBetter, mainScore } from "../parts.js";

const MOST = 8;

export default function Compare({ name, query }) {
  useSettings();
  return name ? html`<${Made} name=${name} />` : html`<${Choose} query=${query} />`;
}

function Choose({ query }) {
  const [list, setList] = useState(null);
  const [made, setMade] = useState([]);
  useEffect(() => {
    attempt(async () => setList((await json("/api/runs")).runs));
    attempt(async () => setMade((await json("/api/comparisons")).comparisons));
  }, []);
  const keys = (query.get("runs") ?? "").split(",").filter(Boolean).slice(0, MOST);
  if (!list) return html`<p class="empty">${t("loading")}</p>`;
  const toggle = (key) => {
    const now = keys.includes(key) ? keys.filter((k) => k !== key) : [...keys, key];
    go("/compare" + (now.length ? "?runs=" + now.map(path).join(",") : ""));
  };
  return html`<${Head} title=${t("page.compare")} lede=${t("compare.lede")} />
    ${made.length > 0 && !keys.length && html`<section class="card made"><h2>${t("compare.made")}</h2><ul class="plainlist">${made.map((m) => html`<li key=${m.key}><${Link} to=${"/compare/" + path(m.key)}>${m.name}<//> <span class="sub">${t("compare.madeOf", { n: m.variants, r: m.results, data: m.data })}</span></li>`)}</ul></section>`}
    <details class="card" open=${keys.length < 2}><summary>${t("compare.choose", { n: keys.length, most: MOST })}</summary>
      <div class="chips">${list.map((r) => html`<button key=${r.key} aria-pressed=${keys.includes(r.key)} disabled=${!keys.includes(r.key) && keys.length >= MOST} onClick=${() => toggle(r.key)}>${r.name}</button>`)}</div></details>
    ${keys.length > 0 && html`<${Side} keys=${keys} list=${list} />`}`;
}

// What `ganforge compare` made.
function Made({ name }) {
  const [c, setC] = useState(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => { json(`/api/comparisons/${path(name)}`).then(setC, (e) => setTrouble(e.message)); }, [name]);
  const [hidden, setHidden] = useState([]);
  if (trouble) return html`<${Head} title=${t("page.compare")} /><p class="empty" role="alert">${trouble}</p>`;
  if (!c) return html`<p class="empty">${t("loading")}</p>`;
  const metric = c.rows[0]?.metric ?? "";
  const shown = c.curves.filter((v) => !hidden.includes(v.variant)).slice(0, MOST);
  const lines = shown.map((v) => ({ name: v.variant, v }));
  const curve = merged(lines, "x", ({ v }) => [v.x, { values: v.mean, low: v.low, high: v.high }]);
  const best = c.rows[0]?.variant;
  const seeds = [...new Set(c.shots.map((s) => s.seed))];
  return html`<${Head} title=${c.name} crumb=${html`<${Link} to="/compare">${t("page.compare")}<//>`} lede=${html`<span lang="en">${c.said}</span>`} />
    ${c.differences.length > 0 && html`<div class="card verdict warn" role="alert"><p class="sentence">${t("compare.apart")}</p><ul>${c.differences.map((d) => html`<li key=${d} lang="en">${d}</li>`)}</ul></div>`}
    <section class="card"><div class="scroll tall" tabindex="0" role="region" aria-label=${t("compare.table")}><table class="numbers"><thead><tr><th>${t("compare.recipe")}</th>${["seeds", "mean", "deviation", "best", "worst", "coverage", "lost", "images_per_s", "memory_mib"].map((k) => html`<th key=${k} class="num">${k === "mean" ? metric : t("compare." + k)}</th>`)}</tr></thead>
      <tbody>${c.rows.map((r) => html`<tr key=${r.variant} class=${r.variant === best ? "first" : ""}><th scope="row">${r.variant}</th>${["seeds", "mean", "deviation", "best", "worst", "coverage", "lost", "images_per_s", "memory_mib"].map((k) => html`<td key=${k} class="num">${k === "lost" && r.lost ? html`<span class="badge bad">${r.lost}</span>` : number(r[k])}</td>`)}</tr>`)}</tbody></table></div></section>
    ${c.curves.length > 0 && html`<div class="spaced"><div class="chips" role="group" aria-label=${t("compare.shown")}>${c.curves.length > 2 && c.curves.map((v) => html`<button key=${v.variant} aria-pressed=${shown.includes(v)} onClick=${() => setHidden(hidden.includes(v.variant) ? hidden.filter((h) => h !== v.variant) : [...hidden, v.variant])}>${v.variant}</button>`)}</div>
      <div class="spaced"><${Chart} x=${curve.x} series=${curve.series} title=${t("compare.kid")} note=${t("compare.band")} xLabel=${t("axis.seconds")} xTime=${duration} height=${300} log /></div></div>`}
    <div class="grids">${c.rows.flatMap((r) => seeds.slice(0, 1).map((seed) => c.shots.find((s) => s.variant === r.variant && s.seed === seed) ?? c.shots.find((s) => s.variant === r.variant)).filter(Boolean)).map((s) => html`<figure key=${s.file} class="card"><figcaption><b>${s.variant}</b> <span class="sub">${t("explore.seed")} ${s.seed}</span></figcaption>
      <div class="picture"><img loading="lazy" src=${`/api/comparisons/${path(name)}/${path(s.file)}.png`} alt=${t("compare.gridAlt", { name: s.variant })} /></div></figure>`)}</div>`;
}

function Side({ keys, list }) {
  const [axis, setAxis] = useState("seconds");
  const [data, setData] = useState({});
  const [which, setWhich] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    attempt(async () => {
      const got = await Promise.all(keys.filter((k) => !data[k]).map(async (k) => [k, await json(`/api/runs/${path(k)}/history`, { signal: stop.signal })]));
      setData((old) => ({ ...old, ...Object.fromEntries(got) }));
    });
    return () => stop.abort();
  }, [keys.join()]);
  const runs = keys.map((k) => ({ ...list.find((r) => r.key === k), ...data[k] })).filter((r) => r.series);
  const names = [...new Set(runs.flatMap((r) => Object.keys(r.series)))];
  const metrics = [...new Set(runs.flatMap((r) => r.scores.flatMap((s) => Object.keys(s.score))))];
  const curves = [...names.filter((n) => n.startsWith("reading/")), ...names.filter((n) => n.startsWith("loss/")), ...names.filter((n) => n.startsWith("grad/")), "speed"];
  const shown = which ?? curves[0];
  const xTime = axis === "seconds" ? duration : undefined;
  if (!runs.length) return html`<p class="empty">${t("loading")}</p>`;
  return html`
    <section class="card spaced"><div class="scroll" tabindex="0" role="region" aria-label=${t("compare.table")}><table class="compare">
      <thead><tr><th></th>${runs.map((r, i) => html`<th key=${r.key} scope="col"><i class="key" style=${{ background: `var(${paint(i)})` }}></i><${Link} to=${"/run/" + path(r.key)}>${r.name}<//></th>`)}</tr></thead>
      <tbody>
        <tr><th scope="row">${t("compare.state")}</th>${runs.map((r) => html`<td key=${r.key}><div class="row"><${State} state=${r.state} /><${Verdict} health=${r.health} /></div></td>`)}</tr>
        <tr><th scope="row">${t("compare.recipe")}</th>${runs.map((r) => html`<td key=${r.key}>${r.recipe ?? "–"}<br /><span class="sub">${r.data ?? ""}</span></td>`)}</tr>
        ${metrics.map((m) => html`<tr key=${m}><th scope="row">${m}<br /><span class="sub">${t(lowerIsBetter(m) ? "lower" : "higher")}</span></th>${best(runs, m).map(({ r, s, first }) => html`<td key=${r.key} class=${first ? "first" : ""}>${s ? html`<b>${number(s.value)}</b> <span class="sub">${s.low !== undefined ? `${number(s.low)}…${number(s.high)}` : ""}</span>` : "–"}</td>`)}</tr>`)}
        <tr><th scope="row">${t("images")}</th>${runs.map((r) => html`<td key=${r.key}>${whole(r.images)}</td>`)}</tr>
        <tr><th scope="row">${t("elapsed")}</th>${runs.map((r) => html`<td key=${r.key}>${duration(r.seconds)}</td>`)}</tr>
        <tr><th scope="row">${t("compare.perSecond")}</th>${runs.map((r) => html`<td key=${r.key}>${r.seconds ? whole(r.images / r.seconds) : "–"}</td>`)}</tr>
        <tr><th scope="row">${t("compare.differ")}</th>${different(runs).map((d, i) => html`<td key=${i}>${d.map(([k, v]) => html`<div><code>${k}=${v}</code></div>`)}</td>`)}</tr>
      </tbody></table></div></section>
    <div class="grids">${runs.map((r, i) => html`<figure key=${r.key} class="card"><figcaption><i class="key" style=${{ background: `var(${paint(i)})` }}></i><b>${r.name}</b> <span class="sub">${r.sample && `${t("step")} ${whole(r.sample[0])}`}</span></figcaption>
      <div class="picture">${r.sample ? html`<img src=${sampleUrl(r.key, r.sample)} alt=${t("compare.gridAlt", { name: r.name })} />` : t("noPicture")}</div></figure>`)}</div>
    <div class="toolbar spaced">
      <${Segments} label=${t("axis")} value=${axis} onChange=${setAxis} options=${["seconds", "images", "step"].map((a) => [a, t("axis." + a)])} />
      <label class="field inline"><span>${t("compare.curve")}</span><select value=${shown} onChange=${(e) => setWhich(e.target.value)}>${curves.map((c) => html`<option key=${c} value=${c}>${c}</option>`)}</select></label>
    </div>
    <div class="charts">
      ${metrics.map((m) => { const c = merged(runs, axis, (r) => [r.scores.map((s) => s[axis]), { values: r.scores.map((s) => s.score[m]?.value ?? null), low: r.scores.map((s) => s.score[m]?.low ?? null), high: r.scores.map((s) => s.score[m]?.high ?? null) }]);
        return html`<${Chart} key=${m} x=${c.x} series=${c.series} title=${t("chart.score", { name: m })} note=${t(lowerIsBetter(m) ? "lower" : "higher")} xLabel=${t("axis." + axis)} xTime=${xTime} height=${240} />`; })}
      ${[shown].map((n) => { const c = merged(runs, axis, (r) => [r.series[axis] ?? [], { values: r.series[n] ?? (r.series[axis] ?? []).map(() => null) }]);
        return html`<${Chart} key=${n} x=${c.x} series=${c.series} title=${n} xLabel=${t("axis." + axis)} xTime=${xTime} height=${240} />`; })}
    </div>`;
}

// Curves with their own x on one: every x that occurs, and null where a run has none.
function merged(runs, axis, pick) {
  const parts = runs.map((r) => pick(r));
  const x = [...new Set(parts.flatMap(([xs]) => xs))].filter((v) => v !== null).sort((a, b) => a - b);
  const at = new Map(x.map((v, i) => [v, i]));
  const spread = (xs, values) => { const out = Array(x.length).fill(null); xs.forEach((v, i) => { if (v !== null) out[at.get(v)] = values[i]; }); return out; };
  return { x, series: parts.map(([xs, v], i) => ({ label: runs[i].name, colour: paint(i), ...Object.fromEntries(Object.entries(v).map(([k, values]) => [k, spread(xs, values)])) })) };
}

function best(runs, metric) {
  const found = runs.map((r) => ({ r, s: r.score?.[metric] }));
  const values = found.filter((f) => f.s).map((f) => f.s.value);
  const top = lowerIsBetter(metric) ? Math.min(...values) : Math.max(...values);
  return found.map((f) => ({ ...f, first: values.length > 1 && f.s?.value === top }));
}

// The settings in which the runs differ.
function different(runs) {
  const flat = (o, at = "") => Object.entries(o ?? {}).flatMap(([k, v]) => (v && typeof v === "object" && !Array.isArray(v) ? flat(v, at + k + ".") : [[at + k, JSON.stringify(v)]]));
  const all = runs.map((r) => Object.fromEntries(flat(r.config)));
  const keys = [...new Set(all.flatMap(Object.keys))].filter((k) => !/^(recipe|data|plan|ganforge|format|dataset|spec)/.test(k) && new Set(all.map((a) => a[k])).size > 1);
  return all.map((a) => keys.map((k) => [k, a[k] ?? "–"]));
}
