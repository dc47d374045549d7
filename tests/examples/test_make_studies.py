"""The page of studies: its sections are what the programs print, and data that are not here are named."""

import logging
import re

import pytest

from .conftest import ROOT, loaded


@pytest.fixture(scope="module")
def make_studies():
    return loaded(ROOT / "docs" / "make_studies.py")


def test_every_study_has_a_section_that_was_filled(make_studies):
    page = make_studies.PAGE.read_text()
    for name, figure in make_studies.STUDIES.items():
        section = re.search(rf"<!-- {name} -->\n```text\n(.+?)\n```\n<!-- end of {name} -->", page, re.DOTALL)
        assert section, name
        assert re.search("^(Edge|No evidence): on ", section[1], re.MULTILINE), name
        assert (ROOT / "examples" / f"{name}.py").exists()
        assert not figure or (make_studies.IMAGES / figure).exists()
        assert max(map(len, section[1].splitlines())) <= 140


def test_a_section_is_replaced_and_the_rest_of_the_page_is_not_touched(make_studies):
    page = "a\n<!-- one -->\nold\n<!-- end of one -->\nb\n<!-- two -->\nkept\n<!-- end of two -->\n"
    once = make_studies.with_printed(page, "one", "x \\1\n" + "word " * 40)
    assert once.startswith("a\n<!-- one -->\n```text\nx \\1\nword word")
    assert once.endswith("\n<!-- end of one -->\nb\n<!-- two -->\nkept\n<!-- end of two -->\n")
    assert max(map(len, once.splitlines())) <= make_studies.WIDTH
    assert make_studies.with_printed(once, "one", "x \\1\n" + "word " * 40) == once
    with pytest.raises(ValueError, match="a section between <!-- three -->"):
        make_studies.with_section(page, "three", "")


def test_the_table_of_all_studies_is_that_of_the_sections(make_studies):
    page = make_studies.PAGE.read_text()
    table = make_studies.table(page)
    assert table in page
    rows = table.splitlines()[2:]
    assert len(rows) == len(re.findall(r"^(?:Edge|No evidence): on ", page, re.MULTILINE))
    assert {row.split(" | ")[0] for row in rows} == {f"| {name}" for name in make_studies.STUDIES}
    shown = re.search(r"^\| movements \| (.+) \|$", table, re.MULTILINE)
    assert shown
    what, judged, skill, *_, verdict = shown[1].split(" | ")
    section = page.partition("<!-- movements -->")[2]
    assert f": {what}\n  {judged} out-of-sample rows" in section
    assert re.search(rf"^  LSTM +\S+ +{re.escape(skill)}", section, re.MULTILINE)
    assert f"\n{verdict}: on " in section


def test_tables_are_not_wrapped(make_studies):
    row = "  LSTM  " + "   0.12345" * 14
    assert make_studies.wrapped(row) == row


@pytest.mark.full
def test_a_study_without_its_data_keeps_its_section_and_says_which_file_it_needs(
    make_studies, tmp_path, monkeypatch, caplog
):
    pytest.importorskip("pyarrow")
    page = tmp_path / "studies.md"
    page.write_text("untouched")
    monkeypatch.setattr(make_studies, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["make_studies.py", "hourly"])
    monkeypatch.setenv("LONGSHORT_SHARED_DATA", str(tmp_path))
    with caplog.at_level(logging.INFO):
        make_studies.main()
    assert "us_hourly_raw_1998_2021.parquet is not in the folder LONGSHORT_SHARED_DATA" in caplog.text
    assert page.read_text() == "untouched"
