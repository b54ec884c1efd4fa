"""What is known of a measure by its name, and how results are shown."""

import pytest

from keras_leoclr.evaluation import measures

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    ("name", "share", "main"),
    [
        ("knn/top1", True, True),
        ("linear/mean_per_class", True, True),
        ("transfer/cifar10", True, True),
        ("detection/AP", True, True),
        ("robustness/knn/top1", True, False),
        ("robustness/knn/mean", True, True),
        ("finetune_run/top1", True, False),
        ("finetune/top1", True, True),
        ("quality/alignment_original", False, True),
        ("quality/uniformity", False, True),
        ("quality/rankme", False, True),
        ("quality/class_accuracy", True, False),
        ("quality/worst_class", True, True),
        ("embedding/explained", True, False),
        ("monitor/knn_top1", True, False),
        ("knn/map", True, True),
        ("robustness/knn/map", True, False),
        ("quality/average_precision", True, False),
        ("speed/images_per_second", False, False),
        ("speed/waiting_share", True, False),
    ],
)
def test_units_and_main_results_follow_from_the_name(name, share, main):
    assert measures.is_share(name) == share and measures.is_main(name) == main


def test_a_main_measure_has_a_name_for_one_label_and_one_for_several():
    assert measures.either("knn") == ("knn/top1", "knn/map")
    assert measures.measure_of("linear/map").title == "linear, mAP"
    assert measures.kind_of_results([{"name": "health/queue"}, {"name": "knn/map"}]) == "map"
    assert measures.kind_of_results([]) == "top1"


def test_the_longest_listed_beginning_of_a_name_counts():
    assert measures.measure_of("robustness/linear/mean").title == "linear, changed images"
    assert measures.measure_of("robustness/linear/mean").main
    assert measures.measure_of("something/else") == measures.Measure("something/else")


def test_shares_are_shown_in_percent_and_numbers_as_they_are():
    line = {"name": "knn/top1", "value": 0.5, "low": 0.45, "high": 0.55, "k": 20, "crop_scale": [0.2, 1.0]}
    assert measures.value_text(line) == "50.0 (45.0 to 55.0)"
    assert measures.label_of(line) == "knn/top1, k 20, crop_scale 0.2 to 1.0"
    change = {"value": 0.04, "low": 0.01, "high": 0.07, "beyond_chance": True}
    assert measures.difference_text(line, change) == "+4.0 (+1.0 to +7.0) *"
    number = {"name": "quality/rankme", "value": 12.3456}
    assert measures.value_text(number) == "12.346"
    assert measures.difference_text(number, {"value": -1.5}) == "-1.500"
    assert measures.value_text(None) == measures.difference_text(None, None) == "-"


def test_the_number_of_neighbours_that_was_asked_for_is_the_usual_one_where_there_are_fewer_images():
    assert measures.is_usual({"k": 16, "k_asked": 20}) and measures.is_usual({"k": 20})
    assert not measures.is_usual({"k": 16, "k_asked": 200}) and not measures.is_usual({"k": 1})
