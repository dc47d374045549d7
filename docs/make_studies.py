"""Run the studies of examples/ and put what they print into docs/studies.md (`make studies`, some minutes).

Every program has a section between two markers, and so has a table of all studies, which is read from the sections.
Nothing else of the page is touched. A program whose data are not here keeps the section it has.
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
        page = with_printed(PAGE.read_text(), name, ran.stdout)
        PAGE.write_text(with_section(page, "all", table(page)))


def with_printed(page: str, name: str, printed: str) -> str:
    """Return the page with the section of a study replaced by what it printed, long lines wrapped."""
    lines = "\n".join(wrapped(line) for line in printed.strip().splitlines())
    return with_section(page, name, f"```text\n{lines}\n```")


def with_section(page: str, name: str, text: str) -> str:
    """Return the page with what stands between the markers of a section replaced."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not marked.search(page):
        raise ValueError(f"{PAGE.name} should have a section between <!-- {name} --> and <!-- end of {name} -->.")
    return marked.sub(lambda found: f"{found[1]}{text}\n{found[2]}", page)


def table(page: str) -> str:
    """Return the studies of a page as a table: skill and IC of the model and of the ridge, and the verdict."""
    rows = [
        "| program | forecast | rows | skill | ridge's | IC | ridge's | verdict |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    study = re.compile(
        r"Study of (?P<model>\w+) on (?P<who>.*): (?P<what>.*)\n +(?P<rows>[\d,]+) out-of-sample rows.*?"
        r"\n  (?P=model) +\S+ +(?P<skill>[+-]\S+%) +(?P<ic>[+-]\S+) .*?"
        r"\n  ridge +\S+ +(?P<their_skill>[+-]\S+%) +(?P<their_ic>[+-]\S+) .*?"
        r"\n(?P<verdict>Edge|No evidence): on ",
        re.DOTALL,
    )
    for name in STUDIES:
        section = page.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- end of {name} -->")[0]
        for part in re.split(r"\n(?=Study of )", section)[1:]:
            heading = re.search(r"--- (.*) ---\n\Z", section[: section.index(part)])
            found = study.match(part)
            if found is None:
                raise ValueError(
                    f"examples/{name}.py printed a study without skill, IC, ridge or verdict:\n{part[:500]}"
                )
            note = f", {heading[1]}" if heading and heading[1] in ("with VIX", "without VIX") else ""
            model = "" if found["model"] == "LSTM" else " (LSTM and ridge)"
            cells = (found[key] for key in ("rows", "skill", "their_skill", "ic", "their_ic", "verdict"))
            rows.append(f"| {name} | {found['what']}{note}{model} | {' | '.join(cells)} |")
    return "\n".join(rows)


def wrapped(line: str) -> str:
    """Wrap sentences; tables and lists of faults, which are aligned, stay as they are."""
    aligned = re.search(r"\S   *\S", line.strip()) or len(line) <= WIDTH
    return line.rstrip() if aligned else textwrap.fill(line, WIDTH, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    main()
