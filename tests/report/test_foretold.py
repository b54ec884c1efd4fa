"""Losses that tell which of two methods has the better features."""

import pytest

from keras_leoclr.report.studies import (
    Agreed,
    Foretold,
    Study,
    agreement_text,
    foretold_text,
    losses_foretell,
    spread,
)

pytestmark = pytest.mark.backend_free


def study():
    """Two methods with two seeds and three epochs each."""
    curves = {
        "MoCo v2": {0: {1: 0.9, 2: 0.8, 3: 0.7}, 1: {1: 0.8, 2: 0.8, 3: 0.7}},
        "LeOCLR": {0: {1: 0.9, 2: 0.7, 3: 0.6}, 1: {1: 1.0, 2: 0.7, 3: 0.64}},
    }
    return Study("method", curves={name: {"loss_to_chance": of_one} for name, of_one in curves.items()})


def test_losses_and_gains_of_two_methods():
    found = losses_foretell(
        "scenes", study(), "MoCo v2", "LeOCLR", spread([0.04, 0.06]), spread([0.02, 0.02])
    )
    assert found == pytest.approx(("scenes", 0.1, -0.08, 0.05, 0.02))
    assert losses_foretell("scenes", study(), "MoCo v2", "LeOCLR", None, spread([0.02])) is None
    assert losses_foretell("scenes", study(), "MoCo v2", "crop", spread([0.1]), spread([0.02])) is None


def test_losses_are_of_the_seeds_that_both_methods_have():
    found, gain = study(), spread([0.04, 0.06])
    found.curves["LeOCLR"]["loss_to_chance"][2] = {1: 0.1, 2: 0.1, 3: 0.1}
    assert losses_foretell("a", found, "MoCo v2", "LeOCLR", gain, gain) == pytest.approx(
        ("a", 0.1, -0.08, 0.05, 0.05)
    )
    found.curves["MoCo v2"]["loss_to_chance"] = {3: {1: 0.9, 2: 0.8, 3: 0.7}}
    assert losses_foretell("a", found, "MoCo v2", "LeOCLR", gain, gain) is None


def test_how_often_a_loss_was_right():
    rows = [Foretold("a", 0.1, -0.2, 0.05, 0.04), Foretold("b", 0.2, -0.1, 0.02, -0.01)]
    assert foretold_text(rows) == []
    table, first, last, end = foretold_text([*rows, Foretold("c", 0.3, 0.3, -0.03, -0.02)])
    assert "| a | +0.100 | -0.200 | +5.0 | +4.0 |" in table and end == ""
    assert "first epoch names the method that is ahead by the linear classifier in 1 of 3" in first
    assert "last epoch names the method that is ahead by the linear classifier in 3 of 3" in last
    assert "+1.00 for the linear classifier and +1.00 for kNN" in first


def test_the_agreement_of_crops_is_compared_with_the_gain():
    rows = [
        Agreed("many things", "0.2 to 1", 0.5, 0.61, spread([0.03, 0.031])),
        Agreed("one thing", "0.5 to 1", 0.8, 0.82, spread([-0.02])),
        Agreed("few things", "0.2 to 1", 0.6, 0.67, spread([-0.01, -0.011])),
    ]
    lines = agreement_text(rows, 0.05).splitlines()
    assert lines[2] == "| one thing | 0.5 to 1 | 80.0 | 82.0 | +2.0 | 1 | -2.0 |"
    assert [line.split(" |")[0] for line in lines[3:5]] == ["| few things", "| many things"]
    assert "the sign of the mean lead in 2 of 3 rows, and in 1 of the 2 rows whose" in lines[-1]
    assert "with the lead is +1.00" in lines[-1]
