"""The pictures of docs/studio.md: each page of the studio, in a real browser.

    ganforge train --recipe infogan --width 24 --set hidden=256 --lr 5e-4 --set lr.G=1e-3 \\
        --set latent.kind=uniform --images 240000 --run shots/codes
    ganforge train --images 120000 --run shots/garments
    ganforge train --recipe denoise --images 10000 --set warmup=5000 --run shots/denoise
    ganforge train drums --recipe wavegan --set rate=8000 --set samples=4096 --set slices=no \\
        --width 8 --batch-size 16 --lr 5e-4 --minutes 25 --run shots/drums
    python examples/studio_pictures.py shots PICTURE.png docs/pictures/studio

The drums are those of examples/drums.py; without that run its picture stays as it is. PICTURE.png is given to the restorer. Chromium has to be installed, for the Chinese page with a
font that has its signs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from ganforge.studio.server import Server, create_app, listen

WIDE, PHONE = {"width": 1200, "height": 860}, {"width": 390, "height": 844}


def shot(page: Page, out: Path, name: str, colours: int = 128, whole: bool = False) -> None:
    """A picture of what is in view or of the whole page, in few colours, which flat areas bear
    well; chosen so that thin lines keep theirs, then moved to what most pixels have."""
    page.evaluate("scrollTo(0, 0)")  # a header that stays in view would be in the middle
    page.wait_for_timeout(700)  # pictures fade in
    path = out / f"{name}.png"
    page.screenshot(path=path, full_page=whole)
    with Image.open(path) as im:
        few = im.convert("RGB").quantize(
            colours, Image.Quantize.MAXCOVERAGE, kmeans=10, dither=Image.Dither.NONE
        )
        few.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB", file=sys.stderr)


def opened(browser: Browser, view: dict, dark: bool = False, language: str = "en-US") -> Page:
    context = browser.new_context(
        viewport=view,  # type: ignore[arg-type]
        locale=language,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    return page


def take(browser: Browser, home: str, picture: Path, out: Path, sounds: bool) -> None:
    page = opened(browser, WIDE)
    page.goto(home)
    page.locator(".runcard").first.wait_for()
    shot(page, out, "runs")
    page.goto(f"{home}/run/garments")
    page.locator(".picture img").wait_for()
    page.locator(".plot canvas").first.wait_for()
    shot(page, out, "run", whole=True)

    page.goto(f"{home}/explore/codes")
    page.locator(".pad img").wait_for()
    page.get_by_role("button", name="Pin it").click()
    page.get_by_role("button", name="Elsewhere").click()
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Pin it").click()
    shot(page, out, "explore", whole=True)

    page.goto(f"{home}/explore/denoise")
    page.get_by_label("Drop a picture here").set_input_files(picture)
    page.get_by_alt_text("Before").wait_for()
    shot(page, out, "repair")

    page = opened(browser, WIDE, dark=True)
    if sounds:
        page.goto(f"{home}/explore/drums")
        page.locator(".board li").first.wait_for()
        page.locator(".pad img").wait_for()
        page.get_by_role("button", name="Play the sound of seed 3").focus()
        shot(page, out, "sound")

    page.goto(f"{home}/lab")
    page.locator("canvas").first.wait_for()
    page.get_by_role("button", name="Play").first.click()
    page.wait_for_timeout(20_000)
    page.get_by_role("button", name="Pause").click()
    shot(page, out, "lab-dark", 256, whole=True)

    page = opened(browser, PHONE, language="zh-CN")
    page.goto(f"{home}/run/garments")
    page.locator(".picture img").wait_for()
    shot(page, out, "phone-chinese")


def main() -> None:
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("runs", type=Path)
    p.add_argument("picture", type=Path)
    p.add_argument("out", type=Path)
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    listening = listen("127.0.0.1", 0)
    server = Server(create_app(args.runs))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    with sync_playwright() as play, tempfile.TemporaryDirectory() as profile:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", f"--data-path={profile}"],
        )
        home = f"http://127.0.0.1:{listening.getsockname()[1]}"
        take(browser, home, args.picture, args.out, (args.runs / "drums").exists())
        browser.close()
    server.should_exit = True
    thread.join(10)


if __name__ == "__main__":
    main()
