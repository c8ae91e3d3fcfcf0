"""Install what the tests need from the system: Chromium, for the pages. Debian's package
where there is apt-get and the right to use it; any Chromium on the PATH will do."""

import os
import shutil
import subprocess
import sys


def main() -> None:
    if any(shutil.which(n) for n in ("chromium", "chromium-browser", "google-chrome")):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {
            "stdout": subprocess.DEVNULL,
            "env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        }
        subprocess.run(["apt-get", "update", "-qq"], check=True, **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=True, **quiet)
        return
    sys.exit("the tests of the pages need Chromium: install it and run this again")


main()
