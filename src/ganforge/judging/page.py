"""One self-contained HTML page: light and dark, wide and narrow, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

STYLE = """
:root{--bg:#f7f5f1;--card:#fffefc;--sunk:#f0ece5;--ink:#1f1c18;--soft:#665f55;--line:#e3dcd1;
--ember:#b93c0b;--grid:#e9e3d9;--ok:#176f36;--ok-soft:#e2f3e6;--warn:#8a5a00;--warn-soft:#fbf0d5;
--bad:#b3211c;--bad-soft:#fbe4e2;--c0:#c2490a;--c1:#1c5cb8;--c2:#6d3fb5;--c3:#0d7a6c;--c4:#a11b5b;
--c5:#5c6b00;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--bg:#131210;--card:#1d1b18;--sunk:#262320;--ink:#f1ece4;
--soft:#aca397;--line:#37322c;--ember:#ff9a57;--grid:#2f2b26;--ok:#7fd698;--ok-soft:#17321f;
--warn:#f0c566;--warn-soft:#352a11;--bad:#ff9489;--bad-soft:#3c1a17;--c0:#ffa065;--c1:#84b6ff;
--c2:#c4a3ff;--c3:#5fd0be;--c4:#ff92bd;--c5:#cdd96b}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);line-height:1.5;font-variant-numeric:tabular-nums;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif}
main{max-width:76rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.2;letter-spacing:-.015em;margin:.1rem 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.12rem;margin:0 0 .7rem;letter-spacing:-.01em}
h3{font-size:.95rem;margin:1.1rem 0 .4rem}
p{margin:.2rem 0 .6rem;text-wrap:pretty}
.lede,.note{color:var(--soft)}.note{font-size:.85rem;margin:.5rem 0 0}
.brand{color:var(--ember);font-weight:650;font-size:.9rem}
section{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.1rem 1.2rem;
margin-top:1.1rem;min-width:0}
.verdict{border-left:6px solid var(--tone)}
.verdict h2{color:var(--tone);font-size:1.3rem;margin-bottom:.3rem}
.verdict p{font-size:1.05rem;max-width:52rem}
.ok{--tone:var(--ok)}.warn{--tone:var(--warn)}.bad{--tone:var(--bad)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.2rem,1fr));gap:.8rem 1rem;margin:0}
dl.facts dt{font-size:.8rem;color:var(--soft)}dl.facts dd{margin:0;font-weight:600;font-size:1.1rem}
dl.facts dd small{font-weight:450;color:var(--soft);font-size:.75em;white-space:nowrap}
img{display:block;max-width:100%;height:auto;border-radius:8px}
img.pixel{image-rendering:pixelated}
.show{display:grid;grid-template-columns:minmax(0,1fr);gap:.8rem}
.show .large{width:min(100%,34rem);margin:0 auto}
.show .large img{width:100%;background:var(--sunk)}
.show figcaption{text-align:center;color:var(--soft);font-size:.9rem;margin-top:.4rem}
figure{margin:0;min-width:0}
.strip{display:flex;gap:.5rem;overflow-x:auto;padding:.2rem .1rem .5rem}
.strip button{flex:0 0 6rem;padding:0;border:2px solid transparent;background:none;border-radius:10px;
cursor:pointer;color:var(--soft);font:inherit;font-size:.78rem}
.strip button img{width:100%;aspect-ratio:1;object-fit:cover;object-position:0 0}
.strip button[aria-pressed=true]{border-color:var(--ember);color:var(--ink)}
:focus-visible{outline:3px solid var(--ember);outline-offset:2px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(25rem,100%),1fr));gap:1.2rem 1.6rem}
.chart svg{width:100%;height:auto;overflow:visible}
.chart figcaption{display:flex;flex-wrap:wrap;gap:.15rem 1rem;align-items:baseline;margin-bottom:.2rem}
.chart .key{font-size:.85rem;color:var(--soft);display:inline-flex;gap:.4rem;align-items:center}
.chart .key svg{width:26px}
.chart text{font-size:11.5px;fill:var(--soft)}.chart .grid{stroke:var(--grid);stroke-width:1}
.chart polyline{fill:none;stroke-width:2;stroke-linejoin:round}.key line{stroke-width:2.5}
.chart .band{opacity:.17}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.93rem}
th,td{text-align:left;padding:.4rem .7rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.84rem}td.n,th.n{text-align:right}
tr:last-child td{border-bottom:0}td small{color:var(--soft)}
tr.best td{font-weight:650}
code,pre{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em}
code{background:var(--sunk);padding:.1em .35em;border-radius:5px;overflow-wrap:anywhere}
pre{background:var(--sunk);padding:.8rem 1rem;border-radius:10px;overflow-x:auto;margin:.4rem 0}
pre code{padding:0;background:none}
details{margin-top:.7rem}summary{cursor:pointer;color:var(--soft);font-size:.92rem}
ul{margin:.3rem 0;padding-left:1.2rem}
footer{color:var(--soft);font-size:.85rem;margin-top:1.5rem}
@media(max-width:36rem){.chart text{font-size:17px}main{padding:1.2rem .8rem 3rem}section{padding:.9rem}h1{font-size:1.35rem}}
@media print{section{break-inside:avoid}}
"""

SCRIPT = """
for (const show of document.querySelectorAll('.show')) {
  const large = show.querySelector('.large img'), said = show.querySelector('.large figcaption');
  const all = [...show.querySelectorAll('.strip button')];
  const pick = b => {
    large.src = b.querySelector('img').src; large.alt = b.querySelector('img').alt;
    said.textContent = b.dataset.said;
    for (const o of all) o.setAttribute('aria-pressed', String(o === b));
  };
  for (const b of all) b.addEventListener('click', () => pick(b));
  show.addEventListener('keydown', e => {
    const i = all.indexOf(document.activeElement);
    const to = i + (e.key === 'ArrowRight') - (e.key === 'ArrowLeft');
    if (i >= 0 && to !== i && all[to]) { all[to].focus(); pick(all[to]); e.preventDefault(); }
  });
  const last = all.at(-1);
  if (last) last.parentNode.scrollLeft = last.parentNode.scrollWidth;
}
"""

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect "
    "width='32' height='32' rx='7' fill='%23b93c0b'/%3E%3C/svg%3E"
)


def page(title: str, body: str, footer: str = "") -> str:
    """The whole document."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="{ICON}"><style>{STYLE}</style></head>'
        f"<body><main>{body}<footer>{footer}</footer></main><script>{SCRIPT}</script></body></html>"
    )


def section(heading: str, body: str, kind: str = "") -> str:
    """A card with a heading; nothing where there is no body."""
    if not body:
        return ""
    return f'<section class="{kind}"><h2>{escape(heading)}</h2>{body}</section>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values (HTML), as a grid."""
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{v}</dd></div>" for k, v in pairs)
    return f'<dl class="facts">{items}</dl>' if items else ""


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True, best: int = -1
) -> str:
    """A table of HTML cells; all columns but the first hold numbers. Row `best` is set bold."""
    kind = [' class="n"' if numbers and i else "" for i in range(len(heads))]
    head = "".join(f"<th{k}>{escape(h)}</th>" for h, k in zip(heads, kind, strict=True))
    body = "".join(
        f"<tr{' class=best' if i == best else ''}>"
        + "".join(f"<td{k}>{cell}</td>" for cell, k in zip(row, kind, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    )
    if not body:
        return ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A configuration as flat pairs of HTML: a.b = c; what is empty is left out."""
    out: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            out += settings(value, f"{prefix}{key}.")
        elif value not in (None, "", [], ()):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            out.append((f"<code>{escape(prefix + key)}</code>", escape(text)))
    return out


def embedded(picture: Path | Image.Image, most: int = 640, bytes_at_most: int = 160_000) -> str:
    """A picture as a data URI: as it is where it is small, else scaled to `most` pixels and
    compressed until it fits. Empty if it cannot be read."""
    try:
        if isinstance(picture, Path) and picture.stat().st_size <= bytes_at_most:
            return _uri(picture.read_bytes(), "png")
        image = Image.open(picture) if isinstance(picture, Path) else picture
        image = image.convert("RGB")
    except (OSError, ValueError):
        return ""
    if max(image.size) > most:
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
    forms = [("png", {"optimize": True}), *(("webp", {"quality": q}) for q in (88, 70, 45))]
    for kind, options in forms[:-1]:
        data = _saved(image, kind, **options)
        if len(data) <= bytes_at_most:
            return _uri(data, kind)
    kind, options = forms[-1]
    return _uri(_saved(image, kind, **options), kind)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind.upper(), **options)
    return data.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def film(pictures: Sequence[tuple[str, str, str]], pixel: bool = True) -> str:
    """Pictures through time, the last one large. Each is (data URI, short name, what it is)."""
    pictures = [p for p in pictures if p[0]]
    if not pictures:
        return ""
    uri, _, said = pictures[-1]
    kind = ' class="pixel"' if pixel else ""
    large = (
        f'<figure class="large"><img{kind} src="{uri}" alt="{escape(said, True)}">'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )
    if len(pictures) == 1:
        return f'<div class="show">{large}</div>'
    strip = "".join(
        f'<button type="button" aria-pressed="{str(i == len(pictures) - 1).lower()}" '
        f'data-said="{escape(s, True)}"><img{kind} src="{u}" alt="{escape(s, True)}">{escape(n)}</button>'
        for i, (u, n, s) in enumerate(pictures)
    )
    return f'<div class="show">{large}<div class="strip">{strip}</div></div>'
