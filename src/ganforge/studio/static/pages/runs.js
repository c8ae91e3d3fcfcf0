// The list of runs, as they train.
import { html, useState, useMemo, useFeed, useSettings, choose, settings, t, Head, Link, Segments, go, number, whole, duration, ago, thumbUrl, path } from "../core.js";
import { Verdict, State, mainScore, manner, lowerIsBetter } from "../parts.js";

const TROUBLE = (r) => ["bad", "warn"].includes(manner(r.health?.verdict)) || r.state === "interrupted";
const FILTERS = {
  all: () => true, training: (r) => r.state === "training", trouble: TROUBLE,
  done: (r) => r.state === "finished" || r.state === "stopped",
};
const goodness = (r) => { const s = mainScore(r.score); return s ? (lowerIsBetter(s.name) ? -s.value : s.value) : -Infinity; };
const ORDERS = {
  changed: (a, b) => b.changed - a.changed, name: (a, b) => a.name.localeCompare(b.name),
  score: (a, b) => goodness(b) - goodness(a), images: (a, b) => (b.images ?? 0) - (a.images ?? 0),
};

export default function Runs() {
  useSettings();
  const [runs, setRuns] = useState(null);
  const [folder, setFolder] = useState("");
  const [words, setWords] = useState("");
  const [filter, setFilter] = useState("all");
  const [order, setOrder] = useState("changed");
  const [chosen, setChosen] = useState([]);
  const broken = useFeed("/api/live", {
    first: (all) => { setFolder(all.folder); setRuns(Object.fromEntries(all.runs.map((r) => [r.key, r]))); },
    news: ({ runs: lines, gone }) => setRuns((old) => {
      const now = { ...old };
      gone.forEach((k) => delete now[k]);
      lines.forEach((r) => { now[r.key] = r; });
      return now;
    }),
    gone: () => setRuns({}),
  });
  const all = Object.values(runs ?? {});
  const shown = useMemo(() => {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (r) => wanted.every((w) => `${r.name} ${r.recipe} ${r.data} ${r.state} ${r.health?.verdict}`.toLowerCase().includes(w));
    const pinned = (r) => settings.pins.includes(r.key);
    return all.filter((r) => FILTERS[filter](r) && fits(r)).sort((a, b) => pinned(b) - pinned(a) || ORDERS[order](a, b) || a.name.localeCompare(b.name));
  }, [runs, words, filter, order, settings.pins]);
  if (!runs) return html`<p class="empty">${broken ? t("lost") : t("loading")}</p>`;
  const training = all.filter((r) => r.state === "training").length;
  const pin = (key) => choose("pins", settings.pins.includes(key) ? settings.pins.filter((k) => k !== key) : [...settings.pins, key]);
  const tick = (key) => setChosen(chosen.includes(key) ? chosen.filter((k) => k !== key) : [...chosen, key]);
  return html`
    <${Head} title=${t("page.runs")} lede=${`${t("runs.lede", { n: all.length, folder })}${training ? " · " + t("runs.live", { n: training }) : ""}`}>
      ${chosen.length > 1 && html`<button class="primary" onClick=${() => go("/compare?runs=" + chosen.map(path).join(","))}>${t("compareThem", { n: chosen.length })}</button>`}
    <//>
    ${broken && html`<p class="badge warn" role="alert">${t("lost")}</p>`}
    ${all.length > 0 && html`<div class="toolbar">
      <label class="field search">${t("search")}<input type="search" value=${words} placeholder=${t("searchHint")} onInput=${(e) => setWords(e.target.value)} /></label>
      <label class="field">${t("sort")}<select value=${order} onChange=${(e) => setOrder(e.target.value)}>
        ${Object.keys(ORDERS).map((o) => html`<option key=${o} value=${o}>${t("sort." + o)}</option>`)}</select></label>
      <${Segments} label=${t("filter")} value=${filter} onChange=${setFilter} options=${Object.keys(FILTERS).map((f) => [f, t("filter." + f)])} />
    </div>`}
    ${all.length === 0 && html`<div class="empty"><p>${t("runs.none")}</p><code>ganforge train --run ${folder}/first</code></div>`}
    ${all.length > 0 && shown.length === 0 && html`<p class="empty">${t("runs.noMatch")}</p>`}
    <ul class="runs">${shown.map((r) => html`<${Card} key=${r.key} run=${r} pinned=${settings.pins.includes(r.key)} onPin=${() => pin(r.key)} chosen=${chosen.includes(r.key)} onChoose=${() => tick(r.key)} />`)}</ul>`;
}

function Card({ run: r, pinned, onPin, chosen, onChoose }) {
  const score = mainScore(r.score);
  return html`<li class="card runcard">
    <div class="thumb">${r.sample ? html`<img src=${thumbUrl(r.key, r.sample)} alt="" loading="lazy" />` : t("noPicture")}</div>
    <div class="corner"><${State} state=${r.state} />
      <button class="pin" aria-pressed=${pinned} aria-label=${t("pin", { name: r.name })} title=${t("pin", { name: r.name })} onClick=${onPin}><span aria-hidden="true">${pinned ? "★" : "☆"}</span></button></div>
    <div class="body">
      <div><h2><${Link} to=${"/run/" + path(r.key)} class="cover">${r.name}<//></h2>
        <p class="sub">${r.recipe ? t("on", { recipe: r.recipe, data: r.data ?? "?" }) : ""}</p></div>
      <div class="row"><${Verdict} health=${r.health} /></div>
      ${r.progress !== null && html`<div class="bar" role="img" aria-label=${whole(r.progress * 100) + " %"}><div style=${{ width: r.progress * 100 + "%" }}></div></div>`}
      <p class="facts">
        ${score && html`<span>${score.name} <b>${number(score.value)}</b></span>`}
        <span><b>${whole(r.images)}</b> ${t(r.sound ? "sound.count" : "images").toLowerCase()}</span>
        ${r.speed && html`<span><b>${whole(r.speed)}</b> ${t(r.sound ? "sound.speed" : "speed")}</span>`}
        ${r.left !== null && html`<span><b>${duration(r.left)}</b> ${t("left")}</span>`}
      </p>
    </div>
    <div class="foot"><span>${ago(r.changed)}</span>
      <label class="check"><input type="checkbox" checked=${chosen} onChange=${onChoose} /><span>${t("compareThis")}<span class="visually-hidden"> ${r.name}</span></span></label></div>
  </li>`;
}
