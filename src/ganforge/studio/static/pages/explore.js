// A walk through a generator's latent space.
import { html, useState, useEffect, useMemo, useRef, useCallback, useSettings, t, Head, Link, number, whole, post, json, path, attempt, announce, toast, go, thumbUrl } from "../core.js";
import { Board, Sound, release, sounding } from "../sound.js";
import Repair from "./repair.js";

const REACH = 1.6; // how far the pad goes, in radians: beyond pi / 2 it leaves its centre behind
const MAP = 7;
const NUDGE = 0.08;

export default function Explore({ name }) {
  useSettings();
  return name ? html`<${Walk} name=${name} />` : html`<${Choose} />`;
}

function Choose() {
  const [runs, setRuns] = useState(null);
  useEffect(() => { attempt(async () => setRuns((await json("/api/runs")).runs.filter((r) => r.step !== null && r.step !== undefined))); }, []);
  return html`<${Head} title=${t("page.explore")} lede=${t("explore.choose")} />
    ${runs?.length === 0 && html`<p class="empty">${t("explore.none")}</p>`}
    <ul class="runs small">${runs?.map((r) => html`<li key=${r.key} class="card runcard">
      <div class="thumb">${r.sample ? html`<img src=${thumbUrl(r.key, r.sample)} alt="" />` : t("noPicture")}</div>
      <div class="body"><h2><${Link} class="cover" to=${"/explore/" + path(r.key)}>${r.name}<//></h2><p class="sub">${r.recipe ? t("on", { recipe: r.recipe, data: r.data ?? "?" }) : ""}</p></div>
    </li>`)}</ul>`;
}

function Walk({ name }) {
  const [model, setModel] = useState(null);
  const [trouble, setTrouble] = useState("");
  const open = async (checkpoint) => {
    try {
      const opened = await (await post(`/api/explore/${path(name)}/open`, { checkpoint })).json();
      setModel(opened);
      setTrouble("");
    } catch (e) { setTrouble(e.message); }
  };
  useEffect(() => { open("latest"); }, [name]);
  const title = name === "." ? t("page.explore") : name.replaceAll("~1", "/");
  const head = html`<${Head} title=${title} crumb=${html`<${Link} to="/explore">${t("page.explore")}<//> › <${Link} to=${"/run/" + path(name)}>${t("explore.run")}<//>`}>
    ${model && html`<label class="field inline"><span>${t("explore.checkpoint")}</span><select value=${model.step} onChange=${(e) => open(+e.target.value)}>
      ${[...new Set([...model.checkpoints, model.step])].sort((a, b) => b - a).map((s) => html`<option key=${s} value=${s}>${t("step")} ${whole(s)}${s === model.best ? " · " + t("explore.best") : ""}</option>`)}
    </select></label>`}<//>`;
  if (trouble) return html`${head}<p class="empty" role="alert">${trouble}</p><p class="center"><button onClick=${() => open("latest")}>${t("again")}</button></p>`;
  if (!model) return html`${head}<p class="empty">${t("explore.opening")}</p>`;
  if (model.source) return html`${head}<${Repair} name=${name} model=${model} />`;
  if (!model.latent) return html`${head}<p class="empty">${t("explore.source")}</p>`;
  return html`${head}<${Space} key=${model.step} name=${name} model=${model} />`;
}

const start = (model) => ({
  seed: 0, u: 0, v: 0, truncation: 1, push: [], label: model.classes.length ? 0 : null,
  code: [...model.latent.categorical.map(() => 0), ...Array(model.latent.continuous).fill(0)],
});

function Space({ name, model }) {
  const [point, setPoint] = useState(() => start(model));
  const [pins, setPins] = useState([]);
  const [shares, setShares] = useState(null);
  const [busy, setBusy] = useState("");
  const [near, setNear] = useState(null);
  const [axes, setAxes] = useState("plane");
  const [follow, setFollow] = useState(true);
  const url = (verb) => `/api/explore/${path(name)}/${verb}`;
  const make = useCallback(async (points, more = {}) => post(url("make"), { step: model.step, points, ...more }), [name, model.step]);
  const change = (more) => setPoint((p) => ({ ...p, ...more }));
  const { picture, took } = usePicture(point, make);
  const hear = useCallback(async (points, more = {}) => (await (await post(url("hear"), { step: model.step, points, ...more })).json()).sounds.map(sounding), [name, model.step]);
  const heard = useHeard(point, model.sound && hear);
  const sideways = model.sound ? 4 / 3 : model.shape.length === 3 ? model.shape[2] / model.shape[1] : 1;

  const look = async () => { setBusy("directions"); await attempt(async () => setShares((await (await post(url("directions"), { step: model.step, label: point.label })).json()).shares)); setBusy(""); };
  const neighbours = async () => { setBusy("near"); await attempt(async () => setNear(withSounds(await (await post(url("neighbours"), { step: model.step, point })).json()))); setBusy(""); };
  const save = (form, points, more) => attempt(async () => {
    const response = await make(points, { form, ...more });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = `${name.replaceAll("~1", "-")}-${model.step}-${point.seed}.${form}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  const pin = async () => {
    const id = Date.now();
    const at = { ...point };
    await attempt(async () => {
      const blob = await (await make([at])).blob();
      setPins((all) => [...all, { id, point: at, url: URL.createObjectURL(blob) }]);
      announce(t("explore.pinned", { n: pins.length + 1 }));
    });
  };
  const codes = [
    ...model.latent.categorical.map((k, i) => ({ i, label: t("explore.category", { n: i + 1 }), min: 0, max: k - 1, step: 1 })),
    ...Array.from({ length: model.latent.continuous }, (_, j) => ({ i: model.latent.categorical.length + j, label: t("explore.code", { n: j + 1 }), min: -2, max: 2, step: 0.01 })),
  ];
  const setCode = (i, value) => change({ code: point.code.map((c, j) => (j === i ? value : c)) });
  const setPush = (i, value) => change({ push: Array.from({ length: shares.length }, (_, j) => (j === i ? value : point.push[j] ?? 0)) });
  const continuous = codes.filter((c) => c.step < 1);

  return html`<div class="explore">
    <section class="card stage" aria-labelledby="here">
      <div class="row between"><h2 id="here">${t("explore.here")}</h2><span class="sub">${took !== null && t("explore.took", { n: number(took, 2) })}</span></div>
      ${model.sound ? html`<${Sound} sound=${{ picture, url: heard }} label=${t("sound.here")} auto=${follow}>
        <p class="sub">${t("sound.axes")}</p><label class="check"><input type="checkbox" checked=${follow} onChange=${(e) => setFollow(e.target.checked)} /> ${t("sound.follow")}</label><//>`
      : html`<div class="picture big" style=${{ aspectRatio: sideways }}>${picture && html`<img src=${picture} alt=${t("explore.alt")} />`}</div>`}
      <div class="row">
        <button class="primary" onClick=${pin}>${t("explore.pin")}</button>
        ${model.sound && html`<button onClick=${() => save("wav", [point])}>WAV</button>`}
        <button onClick=${() => save("png", [point])}>PNG</button>
        <button onClick=${() => save("npy", [point])}>${t("explore.latents")}</button>
        <button onClick=${neighbours} disabled=${busy === "near"}>${busy === "near" ? t("explore.searching") : t("explore.near")}</button>
      </div>
      ${near && html`<div class="near" role="region" aria-label=${t("explore.near")}>
        <p class="sub">${t("explore.nearText", { n: whole(near.searched), of: whole(near.of) })}</p>
        ${model.sound ? html`<${Board} sounds=${near.nearest} label=${t("explore.near")} name=${(n) => nameOf(n)} caption=${(n) => html`<small>${nameOf(n)} <b>${number(n.distance, 2)}</b></small>`} />`
        : html`<ol class="strip">${near.nearest.map((n) => html`<li key=${n.number}><img src=${n.picture} alt=${nameOf(n)} /><small>${nameOf(n)}<br /><b>${number(n.distance, 2)}</b></small></li>`)}</ol>`}</div>`}
    </section>
    <section class="card" aria-labelledby="pad">
      <div class="row between"><h2 id="pad">${t("explore.pad")}</h2>
        ${continuous.length > 1 && html`<select aria-label=${t("explore.axes")} value=${axes} onChange=${(e) => setAxes(e.target.value)}><option value="plane">${t("explore.plane")}</option><option value="codes">${t("explore.codes")}</option></select>`}</div>
      <${Pad} point=${point} change=${change} make=${make} axes=${axes} codes=${continuous} wide=${sideways} />
      <div class="row spaced">
        <button onClick=${() => change({ seed: Math.floor(Math.random() * 1e6), u: 0, v: 0 })}>${t("explore.elsewhere")}</button>
        <button onClick=${() => change({ u: 0, v: 0 })} disabled=${!point.u && !point.v}>${t("explore.centre")}</button>
        <label class="field inline push"><span>${t("explore.seed")}</span><input type="number" class="short" min="0" max=${2 ** 31} value=${point.seed} onInput=${(e) => e.target.validity.valid && e.target.value !== "" && change({ seed: Math.floor(+e.target.value) })} /></label>
      </div>
    </section>
    <section class="card controls" aria-label=${t("explore.controls")}>
      ${model.classes.length > 0 && html`<div><h2>${t("explore.class")}</h2><div class="chips" role="group" aria-label=${t("explore.class")}>${model.classes.map((c, i) => html`<button key=${c} aria-pressed=${point.label === i} onClick=${() => { change({ label: i, push: [] }); setShares(null); }}>${c}</button>`)}</div></div>`}
      ${codes.length > 0 && html`<div><h2>${t("explore.codes")}</h2>${codes.map((c) => html`<${Slider} key=${c.i} label=${c.label} min=${c.min} max=${c.max} step=${c.step} value=${point.code[c.i]} onChange=${(v) => setCode(c.i, v)} />`)}</div>`}
      <div><h2>${t("explore.typical")}</h2><${Slider} label=${t("explore.truncation")} min=${0.1} max=${1} step=${0.01} value=${point.truncation} onChange=${(v) => change({ truncation: v })} /></div>
      <div><h2>${t("explore.directions")}</h2>
        ${shares ? shares.map((s, i) => html`<${Slider} key=${i} label=${t("explore.direction", { n: i + 1, p: whole(s * 100) })} min=${-6} max=${6} step=${0.1} value=${point.push[i] ?? 0} onChange=${(v) => setPush(i, v)} zero />`)
        : html`<p class="sub">${t("explore.directionsText")}</p><button class="spaced" onClick=${look} disabled=${!!busy}>${busy === "directions" ? t("explore.searching") : t("explore.find")}</button>`}
        ${shares && html`<button onClick=${() => change({ push: [] })} disabled=${!point.push.some(Boolean)}>${t("explore.reset")}</button>`}
      </div>
    </section>
  </div>
  ${model.sound && html`<${Handful} point=${point} setPoint=${setPoint} hear=${hear} save=${save} />`}
  <${Between} pins=${pins} setPins=${setPins} setPoint=${setPoint} make=${make} save=${save} hear=${model.sound && hear} video=${model.video} />`;
}

const nameOf = (n) => n.class ?? `#${n.number}`;
const withSounds = (found) => ({ ...found, nearest: found.nearest.map((n) => (n.wav ? sounding(n) : n)) });

// The sound at a point, once the point has come to rest.
function useHeard(point, hear) {
  const [url, setUrl] = useState(null);
  useEffect(() => {
    if (!hear) return;
    let current = true;
    const timer = setTimeout(async () => {
      const sounds = await attempt(() => hear([point]));
      if (!current) release(sounds);
      else if (sounds) setUrl((old) => { if (old) URL.revokeObjectURL(old); return sounds[0].url; });
    }, 120);
    return () => { current = false; clearTimeout(timer); };
  }, [JSON.stringify(point), hear]);
  return url;
}

// Eight sounds from elsewhere, to listen around.
const HANDFUL = 8;
function Handful({ point, setPoint, hear, save }) {
  const [from, setFrom] = useState(1);
  const [sounds, setSounds] = useState(null);
  const points = Array.from({ length: HANDFUL }, (_, i) => ({ ...point, seed: from + i, u: 0, v: 0 }));
  const rest = JSON.stringify(points);
  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      const found = await attempt(() => hear(JSON.parse(rest)));
      if (!current) release(found);
      else if (found) setSounds((old) => { release(old); return found; });
    }, 400);
    return () => { current = false; clearTimeout(timer); };
  }, [rest, hear]);
  return html`<section class="card spaced" aria-labelledby="handful"><h2 id="handful">${t("sound.handful")}</h2>
    ${sounds && html`<${Board} sounds=${sounds} label=${t("sound.handful")} name=${(s, i) => t("sound.seed", { n: from + i })}
        caption=${(s, i) => html`<button class="plain" onClick=${() => setPoint(points[i])} aria-label=${t("sound.go", { n: from + i })}>${t("explore.seed")} ${from + i}</button>`}>
      <button onClick=${() => setFrom(from + HANDFUL)}>${t("sound.more")}</button><button onClick=${() => save("wav", points)}>WAV</button><//>`}
  </section>`;
}

// The picture at a point. One request at a time; what was wanted meanwhile comes next.
function usePicture(point, make) {
  const [shown, setShown] = useState({ picture: null, took: null });
  const wanted = useRef(null), running = useRef(false);
  useEffect(() => {
    wanted.current = point;
    if (running.current) return;
    running.current = true;
    (async () => {
      while (wanted.current) {
        const at = wanted.current;
        wanted.current = null;
        const began = performance.now();
        try {
          const url = URL.createObjectURL(await (await make([at])).blob());
          setShown((old) => { if (old.picture) setTimeout(() => URL.revokeObjectURL(old.picture), 100); return { picture: url, took: performance.now() - began }; });
        } catch (e) { toast(e.message, true); }
      }
      running.current = false;
    })();
  }, [JSON.stringify(point), make]);
  return shown;
}

function Pad({ point, change, make, axes, codes, wide }) {
  const box = useRef(), [map, setMap] = useState(null), held = useRef(false);
  const onCodes = axes === "codes";
  const reach = onCodes ? 2 : REACH;
  const read = (p) => (onCodes ? [p.code[codes[0].i], p.code[codes[1].i]] : [p.u, p.v]);
  const write = (p, x, y) => (onCodes ? { code: p.code.map((c, i) => (i === codes[0].i ? x : i === codes[1].i ? y : c)) } : { u: x, v: y });
  const [x, y] = read(point);
  const rest = JSON.stringify({ ...point, ...write(point, 0, 0) });
  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      const base = JSON.parse(rest), at = (i) => ((i + 0.5) / MAP) * 2 * reach - reach;
      const points = [];
      for (let r = MAP - 1; r >= 0; r--) for (let c = 0; c < MAP; c++) points.push({ ...base, ...write(base, at(c), at(r)) });
      const blob = await attempt(async () => (await make(points, { columns: MAP })).blob());
      if (current && blob) setMap((old) => { if (old) URL.revokeObjectURL(old); return URL.createObjectURL(blob); });
    }, 150);
    return () => { current = false; clearTimeout(timer); };
  }, [rest, make, axes]);
  const clip = (n) => Math.min(Math.max(n, -reach), reach);
  const move = (a, b) => change(write(point, clip(a), clip(b)));
  const follow = (e) => {
    const { left, top, width, height } = box.current.getBoundingClientRect();
    move(((e.clientX - left) / width) * 2 * reach - reach, reach - ((e.clientY - top) / height) * 2 * reach);
  };
  const keys = (e) => {
    const by = NUDGE * (e.shiftKey ? 4 : 1) * (reach / REACH);
    const to = { ArrowLeft: [x - by, y], ArrowRight: [x + by, y], ArrowUp: [x, y + by], ArrowDown: [x, y - by], Home: [0, 0] }[e.key];
    if (!to) return;
    e.preventDefault();
    move(...to);
    announce(`${number(clip(to[0]), 2)}, ${number(clip(to[1]), 2)}`);
  };
  const place = (n) => ((n + reach) / (2 * reach)) * 100 + "%";
  return html`<div class="pad" ref=${box} tabindex="0" role="application" aria-roledescription=${t("explore.padRole")} aria-label=${t("explore.padText")} style=${{ aspectRatio: wide }}
      onPointerDown=${(e) => { held.current = true; e.currentTarget.setPointerCapture(e.pointerId); follow(e); }}
      onPointerMove=${(e) => held.current && follow(e)} onPointerUp=${() => { held.current = false; }} onPointerCancel=${() => { held.current = false; }} onKeyDown=${keys}>
      ${map && html`<img src=${map} alt="" draggable=${false} />`}
      <span class="cross" style=${{ left: place(x), bottom: place(y) }}></span>
    </div>
    <p class="sub">${t("explore.padHint")}</p>`;
}

function Slider({ label, min, max, step, value, onChange, zero }) {
  return html`<label class="slider"><span>${label}</span><b aria-hidden="true">${number(value, 3)}</b>
    <input type="range" aria-label=${label} min=${min} max=${max} step=${step} value=${value} onInput=${(e) => onChange(+e.target.value)} onDblClick=${() => zero && onChange(0)} /></label>`;
}

// Pinned samples, and the way from each to the next.
function Between({ pins, setPins, setPoint, make, save, hear, video }) {
  const [film, setFilm] = useState(null);
  const [frames, setFrames] = useState(12);
  const [busy, setBusy] = useState(false);
  const points = pins.map((p) => p.point);
  useEffect(() => { setFilm(null); }, [pins.length]);
  const walk = async () => {
    setBusy(true);
    const more = { between: frames };
    if (hear) {
      const sounds = await attempt(() => hear(points, more));
      if (sounds) setFilm((old) => { release(old); return sounds; });
      setBusy(false);
      return;
    }
    const blobs = await attempt(async () => [await (await make(points, { ...more, columns: 64 })).blob(), await (await make(points, { ...more, form: "webp" })).blob()]);
    if (blobs) setFilm(blobs.map((b) => URL.createObjectURL(b)));
    setBusy(false);
  };
  if (!pins.length) return html`<section class="card spaced"><h2>${t("explore.between")}</h2><p class="sub">${t(hear ? "sound.betweenText" : "explore.betweenText")}</p></section>`;
  return html`<section class="card spaced" aria-labelledby="between"><h2 id="between">${t("explore.between")}</h2>
    <ol class="strip pins">${pins.map((p, i) => html`<li key=${p.id}>
      <button class="pinned" onClick=${() => setPoint(p.point)} aria-label=${t("explore.goto", { n: i + 1 })}><img src=${p.url} alt="" /></button>
      <button class="plain" onClick=${() => setPins(pins.filter((q) => q !== p))} aria-label=${t("explore.unpin", { n: i + 1 })}>✕</button></li>`)}</ol>
    <div class="row">
      <button class="primary" onClick=${walk} disabled=${pins.length < 2 || busy}>${busy ? t("loading") : t("explore.walk")}</button>
      <label class="field inline"><span>${t(hear ? "sound.frames" : "explore.frames")}</span><input class="short" type="number" min="1" max="60" value=${frames} onInput=${(e) => e.target.validity.valid && setFrames(+e.target.value || 12)} /></label>
      ${film && html`${hear ? html`<button onClick=${() => save("wav", points, { between: frames })}>WAV</button>`
        : html`<button onClick=${() => save("webp", points, { between: frames })}>${t("explore.video")}</button>
        <button onClick=${() => save("gif", points, { between: frames })}>GIF</button>
        ${video && html`<button onClick=${() => save("mp4", points, { between: frames })}>MP4</button>`}`}
        <button onClick=${() => save("npy", points, { between: frames })}>${t("explore.latents")}</button>`}
    </div>
    ${pins.length < 2 && html`<p class="sub spaced">${t("explore.oneMore")}</p>`}
    ${film && hear && html`<${Board} sounds=${film} label=${t("explore.between")} />`}
    ${film && !hear && html`<div class="films"><img class="film" src=${film[1]} alt=${t("explore.filmAlt")} /><div class="scroll" tabindex="0" role="region" aria-label=${t("explore.stripAlt")}><img class="stripimage" src=${film[0]} alt=${t("explore.stripAlt")} /></div></div>`}
  </section>`;
}
