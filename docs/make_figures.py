"""Make the picture of the README: runs the demonstration and draws its first screen (`make figures`)."""

import logging
import sys
import tempfile
from pathlib import Path

from longshort.report.showcase import demo, save_overview

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write docs/images/overview.png."""
    with tempfile.TemporaryDirectory() as folder:
        found = demo(folder, on_study=lambda study: logging.info("%s", study.verdict()))
    path = save_overview(found.studies[0], found.outlook, IMAGES / "overview.png")
    logging.info("%s, %d kB", path, path.stat().st_size // 1024)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    main()
