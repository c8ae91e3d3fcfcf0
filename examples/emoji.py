"""Emoji of one vendor as a folder of pictures: small colour pictures that everyone has.

    npm pack emoji-datasource-twitter emoji-datasource-google
    python examples/emoji.py emoji-datasource-twitter-*.tgz emoji/twitter --size 32
    python examples/emoji.py emoji-datasource-google-*.tgz emoji/google --size 32

    python examples/emoji.py emoji-datasource-google-*.tgz emoji/faces --size 32 --only face
    python examples/emoji.py emoji-datasource-google-*.tgz emoji/sorted --size 32 --sorted

Pictures of different vendors have the same names, their code points, so that two folders are
pairs: `ganforge train emoji/google --recipe pix2pix --set inputs=emoji/twitter`. A share of the
base code points is for testing, with all of its skin tones and combinations, the same ones for
every vendor. Transparent parts are laid over white. The pictures are the vendors' (Twitter's
are CC-BY 4.0, Google's Apache 2.0; Apple's are not free: look, do not publish).
"""

import argparse
import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

PLACE = re.compile(r".*img/\w+/64/([0-9a-f-]+)\.png$")


def split_of(code: str, share: float) -> str:
    """By the first code point alone."""
    digest = hashlib.blake2b(code.partition("-")[0].encode(), digest_size=2).digest()
    return "test" if int.from_bytes(digest, "big") < share * 2**16 else "train"


def index(package: tarfile.TarFile) -> list[dict[str, Any]]:
    """What the package says of each emoji."""
    file = package.extractfile("package/emoji.json")
    assert file is not None
    return json.load(file)


def kinds(package: tarfile.TarFile, start: str) -> set[str]:
    """The names of the pictures whose subcategory begins so."""
    every = index(package)
    return {e["image"].removesuffix(".png") for e in every if e["subcategory"].startswith(start)}


def categories(package: tarfile.TarFile) -> dict[str, str]:
    """The category of each picture, such as food-drink, by its name."""
    found = {}
    for emoji in index(package):
        name = "-".join(re.findall(r"[a-z]+", emoji["category"].lower()))
        for e in (emoji, *emoji.get("skin_variations", {}).values()):
            found[e["image"].removesuffix(".png")] = name
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("package", type=Path, help="an emoji-datasource-VENDOR-*.tgz")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--test", type=float, default=0.1, help="share kept for testing")
    parser.add_argument("--only", help="the start of a subcategory's name, such as face")
    parser.add_argument("--sorted", action="store_true", help="a sub-folder for each category")
    a = parser.parse_args()
    if a.out.exists():
        parser.error(f"{a.out} exists; choose another folder")
    count = 0
    with tarfile.open(a.package) as package:
        wanted = None if a.only is None else kinds(package, a.only)
        folders = categories(package) if a.sorted else {}
        for member in package:
            match = PLACE.match(member.name)
            file = package.extractfile(member) if match and member.isfile() else None
            if match is None or file is None or (wanted is not None and match[1] not in wanted):
                continue
            picture = Image.open(io.BytesIO(file.read())).convert("RGBA")
            flat = Image.new("RGBA", picture.size, "white")
            flat.alpha_composite(picture)
            small = flat.convert("RGB").resize((a.size, a.size), Image.Resampling.LANCZOS)
            folder = a.out / split_of(match[1], a.test) / folders.get(match[1], "")
            folder.mkdir(parents=True, exist_ok=True)
            small.save(folder / f"{match[1]}.png")
            count += 1
    print(f"{count} pictures of {a.size} x {a.size}: {a.out}")


if __name__ == "__main__":
    main()
