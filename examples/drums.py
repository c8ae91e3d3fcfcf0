"""Drum one-shots in folders by kind: a small set of real sounds.

    apt-get download hydrogen-drumkits && dpkg-deb -x hydrogen-drumkits_*.deb kits
    python examples/drums.py kits drums
    ganforge train drums --recipe wavegan --set rate=8000 --set samples=4096 --set slices=no

Any folder of WAV or FLAC files does: the kind is read off each file's name, and what cannot be
told is left out. Files are copied as they are.
"""

import argparse
import re
import shutil
from pathlib import Path

KINDS = {
    "kick": r"kick|bass ?drum|\bbd|_bd|kd_",
    "snare": r"snare|\bsd|_sd|_sn_|\bsr_|rim|stick",
    "hat": r"hat|\bhh|_hh|_chh|_ohh|\bho_|\bhc_",
    "tom": r"tom|\bft_|\bt[1-4]_|djembe|dununba|sangban|kenkeni|drum_",
    "cymbal": r"crash|ride|splash|china|cymbal|\brc_|\bcr_|bell",
}


def kind_of(name: str) -> str | None:
    return next((k for k, words in KINDS.items() if re.search(words, name.lower())), None)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("kits", type=Path)
    parser.add_argument("out", type=Path, help="a new folder")
    a = parser.parse_args()
    if a.out.exists():
        parser.error(f"{a.out} exists; choose another folder")
    counts = dict.fromkeys(KINDS, 0)
    for path in sorted(p for p in a.kits.rglob("*") if p.suffix.lower() in (".wav", ".flac")):
        kind = kind_of(path.stem)
        if kind is None:
            continue
        target = a.out / kind / f"{path.parent.name}-{path.name}".replace(" ", "_")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        counts[kind] += 1
    print(", ".join(f"{k} {n}" for k, n in counts.items()))


if __name__ == "__main__":
    main()
