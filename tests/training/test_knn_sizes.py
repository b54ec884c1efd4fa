"""How many images vote in the kNN measurement of a run, and how many are classified."""

import dataclasses

import pytest

from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.training.recipe import knn_sizes

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    ("bank", "queries", "count", "expected"),
    [
        (2500, 1000, 10000, (2500, 1000)),
        (0, 0, 100, (80, 20)),
        (0, 0, 1_000_000, (10000, 2000)),
        (60, 0, 100, (60, 40)),
        (0, 0, -1, (10000, 2000)),
        (60, 40, 100, (60, 40)),
        (60, 41, 100, None),
        (100, 0, 100, None),
    ],
)
def test_bank_and_queries_are_other_images(bank, queries, count, expected):
    recipe = dataclasses.replace(fashion_mnist.RECIPE, knn_bank=bank, knn_queries=queries)
    if expected:
        assert knn_sizes(recipe, count) == expected
    else:
        words = "`knn_bank` and `knn_queries` must not be more than .* Received: knn_bank=.*, knn_queries="
        with pytest.raises(ValueError, match=words):
            knn_sizes(recipe, count)


def test_more_queries_than_images_are_refused_at_the_start(tmp_path):
    recipe = dataclasses.replace(fashion_mnist.RECIPE.smoke(), max_images=64, knn_bank=60, knn_queries=30)
    with pytest.raises(ValueError, match="`knn_bank` and `knn_queries`"):
        pretrain(recipe, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
