"""The benchmark of templates reads Loghub's layout, and counts as its papers do."""

import json

import polars as pl
import pytest

from bench.templates import grouping_accuracy, main


@pytest.mark.parametrize(
    ("found", "true", "share"),
    [
        ("aabb", "xxyy", 1.0),
        ("aaab", "xxyy", 0.0),  # x has a line too many, y one too few
        ("aabc", "xxyy", 0.5),  # y is split
        ("aabbcc", "xxyyyz", 2 / 6),
    ],
)
def test_a_line_counts_if_its_group_is_the_true_one_exactly(found, true, share):
    assert grouping_accuracy(pl.Series(list(found)), pl.Series(list(true))) == pytest.approx(share)


def test_every_system_of_a_folder_is_measured(tmp_path, capsys):
    system = tmp_path / "Shop"
    system.mkdir()
    rows = 'Content,EventId,EventTemplate\n"sold 5, paid",E1,"sold <*>, paid"\n'
    rows += '"sold 7, paid",E1,"sold <*>, paid"\nclosed,E2,closed\n'
    (system / "Shop_2k.log_structured.csv").write_text(rows)
    (tmp_path / "empty").mkdir()
    assert main(["--data", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["mean"] == {"original": 1.0}
    (measured,) = result["systems"]
    assert (measured["system"], measured["templates"], measured["lines"]) == ("Shop", 2, 3)
    assert {text[""] for text in measured["texts"]} == {"sold *, paid", "closed"}
    assert main(["--data", str(tmp_path), "--texts"]) == 0
    assert "sold *, paid" in capsys.readouterr().out


def test_a_folder_without_labels_is_named(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
