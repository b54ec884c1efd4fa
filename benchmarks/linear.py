"""The linear probe beside scikit-learn's LogisticRegression: seconds and accuracy.

    python benchmarks/linear.py [--rounds 3]

Both choose the weight decay on the same fifth of the bundled training images, out of the same path, each
fit starting from the one before; both end the path after three decays that bring nothing. The features are
random projections of the pixels with a ReLU, which any machine can repeat.
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from turns import rounds, table

import keras_leoclr as kl
from keras_leoclr.evaluation.label_draws import share_of_each_class
from keras_leoclr.evaluation.linear_on_features import PATIENCE, WEIGHT_DECAYS


def features(width):
    sets = []
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((784, width)).astype("float32") / 28
    for split in ("train", "test"):
        images = kl.data.load("fashion_mnist", split)
        (batch,) = images.batch(20_000).as_numpy_iterator()
        pixels = batch["image"].reshape(len(batch["image"]), -1)[:, :784].astype("float32") / 255
        sets += [np.maximum(pixels @ directions, 0), batch["label"]]
    return sets


def scikit_learn(train, train_labels, test, test_labels):
    mean, std = train.mean(0), np.maximum(train.std(0), 1e-6)
    train, test = (train - mean) / std, (test - mean) / std
    held_out = share_of_each_class(train_labels, 0.2, np.random.default_rng(0))
    rows = ~held_out
    model = LogisticRegression(max_iter=300, warm_start=True)
    best, best_accuracy, since = None, -1.0, 0
    for decay in WEIGHT_DECAYS:
        model.C = 1 / (decay * rows.sum())
        accuracy = model.fit(train[rows], train_labels[rows]).score(train[held_out], train_labels[held_out])
        since += 1
        if accuracy > best_accuracy:
            best, best_accuracy, since = decay, accuracy, 0
        elif since == PATIENCE:
            break
    model.C = 1 / (best * len(train))
    return model.fit(train, train_labels).score(test, test_labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=128)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    sets = features(options.width)
    accuracies = {}

    def speed(name, work):
        def measure():
            started = time.perf_counter()
            accuracies[name] = work()
            return len(sets[0]) / (time.perf_counter() - started)

        return measure

    ours, theirs = "linear_probe", "scikit-learn, lbfgs"
    candidates = {
        ours: speed(ours, lambda: kl.evaluation.linear_probe(*sets)["top1"]),
        theirs: speed(theirs, lambda: scikit_learn(*sets)),
    }
    title = f"{len(sets[0]):,} features of {options.width}"
    print(table(title, rounds(candidates, options.rounds), ours))
    for name, accuracy in accuracies.items():
        print(f"  {name:44}top1 {100 * accuracy:.2f} %")


if __name__ == "__main__":
    main()
