"""Run the studies of examples/ and put what they print into docs/studies.md (`make studies`, some minutes).

Every study has a section between two markers; nothing else of the page is touched. A study whose data are not here
keeps the section it has.
"""

import logging
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, IMAGES = ROOT / "docs" / "studies.md", ROOT / "docs" / "images"
STUDIES = {"index": "index-skill.png", "hourly": "hourly-lookback.png", "cross_section": "rank-ic.png", "movements": ""}
WIDTH = 112


def main() -> None:
    """Run all studies, or those that are named on the command line."""
    for name in sys.argv[1:] or STUDIES:
        figure = [str(IMAGES / STUDIES[name])] if STUDIES[name] else []
        start = time.monotonic()
        command = [sys.executable, "-W", "error", str(ROOT / "examples" / f"{name}.py"), *figure]
        ran = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        if "FileNotFoundError" in ran.stderr:
            missing = ran.stderr.strip().splitlines()[-1].rpartition("/")[2]
            logging.info("examples/%s.py: left out, %s is not in the folder LONGSHORT_SHARED_DATA", name, missing)
            continue
        if ran.returncode:
            sys.exit(f"examples/{name}.py failed:\n{ran.stderr}")
        logging.info("%s\nexamples/%s.py: %.0f s\n", ran.stdout, name, time.monotonic() - start)
        PAGE.write_text(with_section(PAGE.read_text(), name, ran.stdout))


def with_section(page: str, name: str, printed: str) -> str:
    """Return the page with the section of a study replaced by what it printed, long lines wrapped.

    >>> print(with_section("<!-- index -->\\nold\\n<!-- end of index -->", "index", "new\\n"))
    <!-- index -->
    ```text
    new
    ```
    <!-- end of index -->
    """
    lines = "\n".join(wrapped(line) for line in printed.strip().splitlines())
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"{PAGE.name} should have a section between <!-- {name} --> and <!-- end of {name} -->.")
    return marked.sub(lambda found: f"{found[1]}```text\n{lines}\n```\n{found[2]}", page)


def wrapped(line: str) -> str:
    """Wrap sentences; tables and lists of faults, which are aligned, stay as they are."""
    aligned = re.search(r"\S   *\S", line.strip()) or len(line) <= WIDTH
    return line.rstrip() if aligned else textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    main()
