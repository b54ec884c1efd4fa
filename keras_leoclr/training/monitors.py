"""The callbacks of a run that measure and record numbers at every step and every epoch."""

from __future__ import annotations

import keras

from keras_leoclr import callbacks, data
from keras_leoclr.evaluation.labels import kind_of_source
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import RunSources
from keras_leoclr.views.preprocessing import Preprocessing

NEIGHBOURS = (200, 20)  # that vote in the kNN measurement: of a bank of `LARGE_BANK` images, and of a smaller
LARGE_BANK = 2_000
PROBE_BATCH = 64  # images per step of the classifier that is trained during pretraining


def monitors(
    recipe: Recipe,
    sources: RunSources,
    preprocessing: Preprocessing,
    folder: RunFolder,
    health: callbacks.Health,
    replicas: int,
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks for health, kNN, the online classifier and, as the last, the file of the history.

    Their order matters: no checkpoint is written after a loss that is not finite, and the measurements are in
    the logs before the logs are written.

    Args:
        recipe: the settings.
        sources: the images of the run.
        preprocessing: size, mean and deviation of the images that the backbone takes.
        folder: the folder of the run.
        health: callback that checks every step.
        replicas: number of devices that a batch is divided among.
    """
    chosen, results = [health], folder.results
    # An epoch may lack these: some are not measured in every epoch, and speed is unknown after one last step.
    columns = ["images_per_second", "waiting"]
    if sources.knn is not None:
        bank, queries = sources.knn_parts(recipe.seed)
        batches = (data.image_batches(part, preprocessing) for part in (bank, queries))
        # In a small bank, 200 may be more than there are of a class, and the largest classes would win.
        k = NEIGHBOURS[bank.count is not None and bank.count < LARGE_BANK]
        monitor = callbacks.KNNMonitor(*batches, k=k, every=recipe.knn_every, results=results)
        chosen.append(monitor)
        kind = kind_of_source(bank)
        columns.append(f"knn_{kind.measure}")
        if recipe.online_probe and replicas == 1:
            # The images are permuted, because in a source that is sorted by class a batch would have one
            # class.
            learned = bank.permuted(recipe.seed) if sources.drawn else bank
            images = data.image_batches(learned, preprocessing, PROBE_BATCH)
            chosen.append(callbacks.OnlineLinearProbe(images, monitor, results=results))
            columns.append(kind.probe)
    return [*chosen, callbacks.HistoryFile(folder.history_file, columns)]
