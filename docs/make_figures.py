"""Make the pictures of README and backtesting: runs the demonstration and draws what it found (`make figures`)."""

import logging
import sys
import tempfile
from pathlib import Path

from longshort.report import equity_plot
from longshort.report.showcase import demo, save_overview

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Write docs/images/overview.png and docs/images/equity.png."""
    with tempfile.TemporaryDirectory() as folder:
        found = demo(folder, on_study=lambda study: logging.info("%s", study.verdict()))
    overview = save_overview(found.studies[0], found.outlook, IMAGES / "overview.png")
    for path in (overview, equity_plot(found.result).save(IMAGES / "equity.png")):
        logging.info("%s, %d kB", path, path.stat().st_size // 1024)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    main()
