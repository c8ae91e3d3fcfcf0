// A picture of one's own, before and after a restorer or translator, with a divider between.
import { html, useState, useEffect, useRef, t, whole, post, path, attempt, announce } from "../core.js";

export default function Repair({ name, model }) {
  const [file, setFile] = useState(null);
  const [damage, setDamage] = useState(!!model.damage);
  const [found, setFound] = useState(null);
  const [busy, setBusy] = useState(false);
  const [over, setOver] = useState(false);
  const turn = useRef(0);
  useEffect(() => {
    if (!file) return;
    const mine = ++turn.current;
    setBusy(true);
    (async () => {
      const answer = await attempt(async () => (await post(`/api/upload/${path(name)}?step=${model.step}&damage=${damage}`, file, { raw: true })).json());
      if (mine !== turn.current) return;
      setBusy(false);
      setFound(answer ?? null); // never the last picture's under this one's name
      if (answer) announce(t("repair.done"));
    })();
  }, [file, damage, model.step]);
  const take = (files) => { if (files?.length) setFile(files[0]); };
  return html`<section class="card repair" aria-labelledby="repair">
    <div class="row between"><h2 id="repair">${t("repair.title")}</h2>${model.damage && html`<code>${model.damage}</code>`}</div>
    <div class=${"drop" + (over ? " over" : "")} onDragOver=${(e) => { e.preventDefault(); setOver(true); }} onDragLeave=${() => setOver(false)} onDrop=${(e) => { e.preventDefault(); setOver(false); take(e.dataTransfer.files); }}>
      <label class="field"><span>${t("repair.drop")}</span><input type="file" accept="image/*" onClick=${(e) => { e.target.value = ""; /* the same file again is a choice too */ }} onChange=${(e) => take(e.target.files)} /></label>
      ${model.damage && html`<label class="check"><input type="checkbox" checked=${damage} onChange=${(e) => setDamage(e.target.checked)} /> ${t("repair.damage")}</label>`}
      <p class="sub" role="status">${busy ? t("repair.busy") : file ? file.name : t("repair.text")}</p>
    </div>
    ${found && html`<${Divided} found=${found} name=${name} />`}
  </section>`;
}

function Divided({ found, name }) {
  const [at, setAt] = useState(50);
  const box = useRef(), held = useRef(false);
  const follow = (e) => {
    const { left, width } = box.current.getBoundingClientRect();
    setAt(Math.min(Math.max(Math.round(((e.clientX - left) / width) * 100), 0), 100));
  };
  const [height, width] = found.size;
  return html`<div class="divided" ref=${box} style=${{ aspectRatio: width / height, maxWidth: Math.max(320, Math.min(900, width * 4)) + "px" }}
      onPointerDown=${(e) => { held.current = true; e.currentTarget.setPointerCapture(e.pointerId); follow(e); }}
      onPointerMove=${(e) => held.current && follow(e)} onPointerUp=${() => { held.current = false; }} onPointerCancel=${() => { held.current = false; }}>
      <img src=${found.after} alt=${t("repair.after")} draggable=${false} />
      <img src=${found.before} alt=${t("repair.before")} draggable=${false} style=${{ clipPath: `inset(0 ${100 - at}% 0 0)` }} />
      <span class="line" style=${{ left: at + "%" }}></span>
      <b class="tag" aria-hidden="true">${t("repair.before")}</b><b class="tag right" aria-hidden="true">${t("repair.after")}</b>
    </div>
    <div class="row spaced">
      <label class="slider"><span>${t("repair.divider")}</span><b aria-hidden="true">${at} %</b><input type="range" min="0" max="100" value=${at} aria-label=${t("repair.divider")} onInput=${(e) => setAt(+e.target.value)} /></label>
      <span class="sub">${whole(width)} × ${whole(height)}</span>
      <a class="button push" href=${found.after} download=${name.replaceAll("~1", "-") + "-after.png"}>${t("repair.save")}</a>
    </div>`;
}
