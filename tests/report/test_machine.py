"""What `doctor` says about a machine."""

import json

from longshort.report import doctor, machine


def test_everything_found_is_json():
    json.dumps(doctor())


def test_a_missing_package_is_a_problem_with_its_remedy(monkeypatch):
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "yfinance" else "1.0")
    assert "yfinance is missing: pip install yfinance" in doctor()["problems"]


def test_a_missing_extra_is_no_problem(monkeypatch):
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "torch" else "1.0")
    found = doctor()
    assert found["problems"] == []
    assert "torch" in found["missing"]
