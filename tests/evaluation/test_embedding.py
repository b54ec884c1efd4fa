"""Maps of an embedding: projection, examples, contact sheets."""

import numpy as np
import pytest

from keras_leoclr.evaluation.embedding import contact_sheet, project, spread

pytestmark = pytest.mark.backend_free


def test_principal_components_keep_distances_and_their_share():
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((50, 2)) @ np.linalg.qr(rng.standard_normal((9, 2)))[0].T
    points, explained = project(flat + 0.0)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert explained == pytest.approx(1)
    distances = np.linalg.norm(unit[:, None] - unit, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points, axis=-1), distances, atol=1e-5)
    np.testing.assert_allclose(project(flat)[0], points)
    assert project(np.ones((4, 3)))[0].shape == (4, 2)


def test_umap_is_named_when_it_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"needs the package umap-learn: .*\[report\]"):
        project(np.ones((4, 3)), "umap")


def test_examples_are_taken_from_the_classes_in_turn():
    labels = np.array([2, 2, 2, 0, 0, 1])
    assert labels[spread(labels, 5)].tolist() == [0, 1, 2, 0, 2]
    assert spread(np.zeros(3, int), 9).tolist() == [0, 1, 2]


def test_a_contact_sheet_is_filled_row_by_row():
    tiles = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones((5, 2, 2, 3), "uint8")
    sheet = contact_sheet(tiles, 3)
    assert sheet.shape == (4, 6, 3)
    assert sheet[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 0]]
