// Sounds that are seen and played, one at a time.
import { html, useState, useEffect, useRef, t } from "./core.js";

// { wav (base64), picture, ... } of the server with a "url" that an audio element takes.
export function sounding({ wav, ...rest }) {
  const bytes = Uint8Array.from(atob(wav), (c) => c.charCodeAt(0));
  return { ...rest, url: URL.createObjectURL(new Blob([bytes], { type: "audio/wav" })) };
}
export const release = (sounds) => sounds?.forEach((s) => URL.revokeObjectURL(s.url));

let last; // the audio element that was started last
function play(audio) {
  if (last !== audio) last?.pause();
  last = audio;
  audio.currentTime = 0;
  audio.play().catch(() => { /* the browser waits for a first touch, or another began */ });
}

// A spectrogram that is a button, with a line that runs over it. `auto`: a sound is played when
// it takes the place of another.
export function Sound({ sound, label, auto, children }) {
  const audio = useRef(), [on, setOn] = useState(false), [share, setShare] = useState(0), before = useRef(null);
  useEffect(() => {
    if (auto && sound.url && before.current) play(audio.current);
    before.current = sound.url;
  }, [sound.url]);
  useEffect(() => {
    if (!on) return;
    let next;
    const move = () => { const a = audio.current; if (a?.duration) setShare(a.currentTime / a.duration); next = requestAnimationFrame(move); };
    move();
    return () => { cancelAnimationFrame(next); setShare(0); };
  }, [on]);
  useEffect(() => () => audio.current?.pause(), []);
  const press = () => (on ? audio.current.pause() : sound.url && play(audio.current));
  return html`<div class=${"sound" + (on ? " on" : "")}>
    <button type="button" class="screen" onClick=${press} aria-label=${t(on ? "sound.stop" : "sound.play", { name: label })}>
      ${sound.picture && html`<img src=${sound.picture} alt="" draggable=${false} />`}
      <span class="line" style=${{ left: share * 100 + "%" }}></span><span class="sign" aria-hidden="true"></span></button>
    <audio ref=${audio} src=${sound.url} preload="auto" onPlay=${() => setOn(true)} onPause=${() => setOn(false)} onEnded=${() => setOn(false)}></audio>
    ${children}</div>`;
}

// Several, with a button that plays one after the other.
export function Board({ sounds, label, name = (s, i) => t("sound.nth", { n: i + 1 }), caption = () => null, children }) {
  const box = useRef(), [turn, setTurn] = useState(-1);
  useEffect(() => {
    if (turn < 0) return;
    const audio = box.current?.querySelectorAll("audio")[turn];
    if (!audio) { setTurn(-1); return; }
    const next = () => setTurn(turn + 1);
    const stopped = () => { if (!audio.ended) setTurn(-1); };
    audio.addEventListener("ended", next);
    audio.addEventListener("pause", stopped);
    play(audio);
    return () => { audio.removeEventListener("ended", next); audio.removeEventListener("pause", stopped); };
  }, [turn]);
  useEffect(() => setTurn(-1), [sounds]);
  const all = () => (turn < 0 ? setTurn(0) : last?.pause());
  return html`<div class="row"><button onClick=${all}>${t(turn < 0 ? "sound.all" : "sound.stopAll")}</button>${children}</div>
    <ol class="board" ref=${box} aria-label=${label}>${sounds.map((s, i) => html`<li key=${s.url}><${Sound} sound=${s} label=${name(s, i)}>${caption(s, i)}<//></li>`)}</ol>`;
}
