// What every page uses: rendering, words, numbers, the server.
import { h, render, Fragment } from "./vendor/preact.js";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-hooks.js";
import htm from "./vendor/htm.js";
import { STRINGS } from "./strings.js";

export const html = htm.bind(h);
export { h, render, Fragment, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState };

// -- what the person has chosen -------------------------------------------------------
const listeners = new Set();
const stored = (name, otherwise) => { try { return JSON.parse(localStorage.getItem(name)) ?? otherwise; } catch { return otherwise; } };
const chinese = navigator.language.toLowerCase().startsWith("zh");
export const settings = {
  language: stored("ganforge.language", chinese ? "zh" : "en"),
  theme: stored("ganforge.theme", "auto"),
  pins: stored("ganforge.pins", []),
};
export function choose(name, value) {
  settings[name] = value;
  try { localStorage.setItem("ganforge." + name, JSON.stringify(value)); } catch { /* private window */ }
  apply();
  listeners.forEach((l) => l());
}
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
export const isDark = () => settings.theme === "dark" || (settings.theme === "auto" && darkSystem.matches);
function apply() {
  document.documentElement.lang = settings.language === "zh" ? "zh-Hans" : "en";
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
}
darkSystem.addEventListener("change", () => { apply(); listeners.forEach((l) => l()); });
apply();
export function useSettings() {
  const [, again] = useState(0);
  useEffect(() => { const l = () => again((n) => n + 1); listeners.add(l); return () => listeners.delete(l); }, []);
  return settings;
}

// -- words and numbers ----------------------------------------------------------------
export function t(key, values) {
  const text = STRINGS[key]?.[settings.language === "zh" ? 1 : 0] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "") : text;
}
export const known = (key) => key in STRINGS;
const locale = () => (settings.language === "zh" ? "zh-CN" : "en");
export function number(x, digits = 3) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  const a = Math.abs(x);
  if (a !== 0 && (a < 1e-3 || a >= 1e7)) return x.toExponential(1).replace("e+", "e");
  const options = Number.isInteger(x) || a >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: digits };
  return new Intl.NumberFormat(locale(), options).format(x);
}
export const whole = (x) => (x === null || x === undefined ? "–" : new Intl.NumberFormat(locale(), { maximumFractionDigits: 0 }).format(x));
export function duration(s) {
  if (s === null || s === undefined) return "–";
  if (s < 60) return t("seconds", { n: Math.round(s) });
  if (s < 3600) return t("minutes", { n: number(s / 60, s < 600 ? 2 : 3) });
  if (s < 172800) return t("hours", { n: number(s / 3600, 2) });
  return t("days", { n: number(s / 86400, 2) });
}
export function ago(time) {
  const s = Math.max(0, Date.now() / 1000 - time);
  return s < 45 ? t("justNow") : t("ago", { d: duration(s) });
}

// -- the server -----------------------------------------------------------------------
let session;
const opened = () => (session ??= fetch("/api/session").then((r) => r.json()));
export class Refused extends Error {
  constructor(status, problem) { super(problem.detail || problem.title || `${status}`); this.status = status; }
}
async function answer(response) {
  if (response.ok) return response;
  let problem = {};
  try { problem = await response.json(); } catch { /* not ours */ }
  if (response.status === 403) session = undefined;
  throw new Refused(response.status, problem);
}
export const get = (url, options) => fetch(url, options).then(answer);
export const json = (url, options) => get(url, options).then((r) => r.json());
export async function post(url, body, { raw = false, signal } = {}) {
  const { action } = await opened();
  const headers = { "x-ganforge-action": action };
  if (!raw) headers["content-type"] = "application/json";
  return answer(await fetch(url, { method: "POST", headers, body: raw ? body : JSON.stringify(body), signal }));
}
export const path = (key) => encodeURIComponent(key);
export const thumbUrl = (key, [step, version]) => `/api/runs/${path(key)}/thumbs/${step}.png?v=${version}`;
export const sampleUrl = (key, [step, version]) => `/api/runs/${path(key)}/samples/${step}.png?v=${version}`;

// Follow a server-sent feed while the page is in view. `handlers` maps events to functions.
export function useFeed(url, handlers) {
  const current = useRef(handlers);
  current.current = handlers;
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    if (!url) return;
    let source, retry;
    const open = () => {
      clearTimeout(retry);
      source?.close();
      source = new EventSource(url);
      source.onopen = () => setBroken(false);
      source.onerror = () => {
        setBroken(true);
        if (source.readyState === EventSource.CLOSED) retry = setTimeout(open, 3000);
      };
      for (const name of Object.keys(current.current)) {
        source.addEventListener(name, (e) => current.current[name](JSON.parse(e.data)));
      }
    };
    const seen = () => {
      if (document.hidden) { source?.close(); source = undefined; clearTimeout(retry); }
      else if (!source) open();
    };
    seen();
    document.addEventListener("visibilitychange", seen);
    return () => { document.removeEventListener("visibilitychange", seen); clearTimeout(retry); source?.close(); };
  }, [url]);
  return broken;
}

// -- telling the person ---------------------------------------------------------------
let tell = () => {};
export const setTeller = (f) => { tell = f; };
export const announce = (text) => tell({ text, quiet: true });
export const toast = (text, bad = false) => tell({ text, bad });
export const attempt = async (work) => { try { return await work(); } catch (e) { if (e.name !== "AbortError") toast(e.message, true); } };

// -- where we are ---------------------------------------------------------------------
let moved = () => {};
export const setMover = (f) => { moved = f; };
export function go(to) { history.pushState(null, "", to); moved(); }
export function Link({ to, children, ...rest }) {
  const click = (e) => {
    if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey) return;
    e.preventDefault();
    go(to);
  };
  return html`<a href=${to} onClick=${click} ...${rest}>${children}</a>`;
}

export function Head({ title, crumb, children, lede }) {
  const ref = useRef();
  useEffect(() => { document.title = `${title} · ganforge studio`; }, [title]);
  useEffect(() => { if (history.state !== "first") ref.current?.focus({ preventScroll: true }); }, []);
  return html`<div class="head"><div class="grow">
    ${crumb && html`<p class="crumb">${crumb}</p>`}
    <h1 tabindex="-1" ref=${ref}>${title}</h1>
    ${lede && html`<p class="lede">${lede}</p>`}
  </div>${children}</div>`;
}

export function Segments({ label, value, options, onChange }) {
  return html`<div class="segments" role="group" aria-label=${label}>
    ${options.map(([v, text]) => html`<button key=${v} type="button" aria-pressed=${v === value} onClick=${() => onChange(v)}>${text}</button>`)}
  </div>`;
}

// A question before an action. `ask` is { title, text, confirm, danger, field, run } or null.
export function Ask({ ask, onClose }) {
  const ref = useRef();
  const [value, setValue] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    if (!ask) return;
    setValue(ask.field?.value ?? "");
    ref.current?.showModal();
  }, [ask]);
  if (!ask) return null;
  const submit = async (e) => {
    e.preventDefault();
    setBusy(true);
    await attempt(() => ask.run(value));
    setBusy(false);
    ref.current?.close();
  };
  return html`<dialog ref=${ref} onClose=${onClose} aria-labelledby="ask-title"><form onSubmit=${submit}>
    <h2 id="ask-title">${ask.title}</h2><p>${ask.text}</p>
    ${ask.field && html`<label class="field">${ask.field.label}
      <input type="number" value=${value} min=${ask.field.min} max=${ask.field.max} step="any" required=${!ask.field.optional}
        onInput=${(e) => setValue(e.target.value)} /></label>`}
    <div class="row"><button type="button" onClick=${() => ref.current.close()}>${t("cancel")}</button>
      <button type="submit" class=${ask.danger ? "danger" : "primary"} disabled=${busy}>${ask.confirm}</button></div>
  </form></dialog>`;
}
