// Small pieces that several pages show.
import { html, t, known } from "./core.js";

const MANNER = {
  healthy: "ok", converged: "ok", collapse: "bad", "d-won": "bad", diverged: "bad",
  memorising: "warn", cycling: "warn", stalled: "warn",
};
const SIGN = { ok: "✓", warn: "!", bad: "✕" };
export const manner = (verdict) => MANNER[verdict] ?? "idle";

export function Verdict({ health }) {
  const verdict = health?.verdict;
  if (!verdict) return html`<span class="badge">${t("verdict.none")}</span>`;
  const kind = manner(verdict);
  return html`<span class=${"badge " + kind}><span aria-hidden="true">${SIGN[kind] ?? "·"}</span>${known("verdict." + verdict) ? t("verdict." + verdict) : verdict}</span>`;
}

export function State({ state }) {
  const kind = { training: "ember live", finished: "ok", waiting: "", stopped: "", interrupted: "warn" }[state] ?? "";
  return html`<span class=${"badge " + kind}><span class="dot" aria-hidden="true"></span>${t("state." + state)}</span>`;
}

// Of these a small one is a good one; of all others, a large one.
const SMALL = /^(kid|fid|frechet|fd|kl|lpips|w1|memor|distance|l1|perceptual)/i;
export const lowerIsBetter = (name) => SMALL.test(name);
export function mainScore(score) {
  const [name] = Object.keys(score ?? {});
  const value = name && score[name];
  return name ? { name, ...(typeof value === "object" ? value : { value }) } : null;
}
