"""What no perturbation can show, because it happened before the code ran: asked for, and judged by dates."""

from collections.abc import Mapping
from typing import Any

from ...bars import Bars
from ...errors import InputError, UnknownName, did_you_mean
from .findings import LEAK, Finding, Question

NOTHING = "nothing"
VINTAGES = ("point in time", "revised")
OHLCV = ("open", "high", "low", "close", "volume")
DATED = {
    "universe": Question(
        "universe",
        "Were the symbols chosen knowing which of them would survive and do well?",
        "the date their list was drawn up ('nothing' if no data were looked at)",
    ),
    "features": Question(
        "features",
        "Were the inputs chosen by how well they did, on rows that are judged now?",
        "the last date of the data they were chosen on ('nothing' if none)",
    ),
    "tuning": Question(
        "tuning",
        "Were settings, thresholds or the model itself chosen by results on rows that are judged now?",
        "the last date of the data they were chosen on ('nothing' if none)",
    ),
    "training": Question(
        "training",
        "It comes with what it has learned: were the judged rows part of that?",
        "the last date of its training data ('nothing' if it is untrained)",
    ),
    "source": Question("source", "", "the last date of the data it reads"),
    "dates": Question("dates", "", "the date these were written down"),
    "levels": Question("levels", "", "the date these were written down"),
}
VINTAGE = Question(
    "vintage",
    "It reads a joined series: are its values those first published, or later revisions?",
    "'point in time' or 'revised'",
)
KNOWN = (*DATED, VINTAGE.name)


def check_facts(facts: Mapping[str, Any]) -> None:
    """Raise for a fact nobody asks for."""
    if not isinstance(facts, Mapping):
        raise InputError(f"facts must be a mapping such as {{'universe': '2012-12-31'}}, was {type(facts).__name__}.")
    for name, value in facts.items():
        if name not in KNOWN:
            raise UnknownName(f"facts has {name!r}. {did_you_mean(str(name), KNOWN)}")
        if name == VINTAGE.name and value not in VINTAGES:
            raise UnknownName(f"facts['vintage'] was {value!r}. {did_you_mean(str(value), VINTAGES)}")


def answered(
    asked: Mapping[str, Question], facts: Mapping[str, Any], bars: Bars, judged: int
) -> tuple[list[Finding], list[Question]]:
    """Return the leaks that the facts admit to, and the questions that they leave open.

    Parameters
    ----------
    asked : mapping of str to Question
        What could not be seen.
    facts : mapping
        Dates, or "nothing"; for "vintage" one of its two words.
    bars : Bars
        What was judged.
    judged : int
        Row of the first decision that counts.
    """
    findings = []
    for name, value in facts.items():
        if name == VINTAGE.name:
            if value == "revised":
                text = "A joined series holds later revisions: a row contains what was published after it."
                findings.append(Finding(VINTAGE.name, f"{text} Join what was first published, when it was.", LEAK))
            continue
        if value == NOTHING:
            continue
        if judged < len(bars) and len(bars.until(value)) > judged:
            what = {"universe": "The symbols were", "training": "The weights were learned from data up to"}
            text = (
                f"{what[name]} drawn up" if name == "universe" else what.get(name, f"{name.capitalize()} were chosen")
            )
            link = " on" if name == "universe" else "" if name == "training" else " on data up to"
            findings.append(
                Finding(
                    name,
                    f"{text}{link} {value}, but decisions are judged from {bars.dates[judged]} on: they were made with "
                    f"what came later. Judge later rows, or choose on data before {bars.dates[judged]}.",
                    LEAK,
                )
            )
    return findings, [question for name, question in asked.items() if name not in facts]


def asked_of(output: str, pretrained: bool) -> dict[str, Question]:
    """Return what has to be asked of everything that forecasts or trades."""
    if output not in ("forecast", "returns") and not pretrained:
        return {}
    names = ["universe", "features", "tuning"] + (["training"] if pretrained else [])
    return {name: DATED[name] for name in names}


def extra_fields(bars: Bars) -> list[str]:
    """Return the fields that are not prices or volume: joined series."""
    return [name for name in bars.fields if name not in OHLCV]
