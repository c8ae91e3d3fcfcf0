// The frame around the pages, and which page an address means.
import { html, render, useState, useEffect, useSettings, settings, choose, t, setTeller, setMover, Link } from "./core.js";

const PAGES = {
  runs: () => import("./pages/runs.js"),
  run: () => import("./pages/run.js"),
  explore: () => import("./pages/explore.js"),
  lab: () => import("./pages/lab.js"),
  compare: () => import("./pages/compare.js"),
};
const TABS = [["runs", "/"], ["explore", "/explore"], ["lab", "/lab"], ["compare", "/compare"]];

function here() {
  const [page, name] = location.pathname.split("/").slice(1).map(decodeURIComponent);
  return { page: page in PAGES ? page : "runs", name, query: new URLSearchParams(location.search) };
}

function App() {
  useSettings();
  const [place, setPlace] = useState(here);
  const [loaded, setLoaded] = useState({});
  const [said, setSaid] = useState({ text: "" });
  useEffect(() => {
    const move = () => { setPlace(here()); scrollTo(0, 0); };
    setMover(move);
    addEventListener("popstate", move);
    return () => removeEventListener("popstate", move);
  }, []);
  useEffect(() => {
    let timer;
    setTeller((what) => {
      setSaid(what);
      clearTimeout(timer);
      if (!what.quiet) timer = setTimeout(() => setSaid({ text: "" }), what.bad ? 9000 : 4000);
    });
  }, []);
  useEffect(() => { PAGES[place.page]().then((m) => setLoaded({ page: place.page, View: m.default })); }, [place.page]);
  const { View } = loaded;
  const tab = place.page === "run" ? "runs" : place.page;
  return html`
    <a class="skip" href="#main">${t("skip")}</a>
    <header class="top"><div>
      <${Link} to="/" class="brand"><img src="/static/icon.svg" alt="" width="26" height="26" /><div>ganforge <span>studio</span></div><//>
      <nav class="main" aria-label=${t("pages")}>
        ${TABS.map(([name, to]) => html`<${Link} key=${name} to=${to} aria-current=${name === tab ? "page" : undefined}>${t("page." + name)}<//>`)}
      </nav>
      <div class="tools">
        <button class="plain" lang=${settings.language === "zh" ? "en" : "zh-Hans"} onClick=${() => choose("language", settings.language === "zh" ? "en" : "zh")}>
          ${settings.language === "zh" ? "English" : "中文"}</button>
        <button class="plain" onClick=${() => choose("theme", { auto: "light", light: "dark", dark: "auto" }[settings.theme])}>
          <span class="visually-hidden">${t("theme")}: </span>${t("theme." + settings.theme)}</button>
      </div>
    </div></header>
    <main id="main" tabindex="-1">
      ${View && loaded.page === place.page ? html`<${View} key=${place.name} ...${place} />` : html`<p class="empty">${t("loading")}</p>`}
    </main>
    <div class="visually-hidden" role="status" aria-live="polite">${said.text}</div>
    ${said.text && !said.quiet && html`<div class=${"toast" + (said.bad ? " bad" : "")} aria-hidden="true">${said.text}</div>`}`;
}

history.replaceState("first", "");
render(html`<${App} />`, Object.assign(document.getElementById("app"), { textContent: "" }));
