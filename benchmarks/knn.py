"""kNN of 10,000 queries in a bank of 100,000 features, beside the bare product and top-k.

    python benchmarks/knn.py [--rounds 3] [--bank 100000] [--queries 10000] [--width 512]

The bare work is the matrix product and `numpy.argpartition` in chunks of the same size, without voting, and
faiss-cpu's exact search where it is installed. Peak memory is what Python and NumPy allocate at most, over
the arrays given.
"""

import argparse
import time
import tracemalloc

import numpy as np
from turns import rounds, table

import keras_leoclr as kl


def bare(bank, queries, k, chunk=250):
    for start in range(0, len(queries), chunk):
        similarity = queries[start : start + chunk] @ bank.T
        np.argpartition(similarity, -k, axis=1)[:, -k:]


def faiss_search(bank, queries, k):
    import faiss

    index = faiss.IndexFlatIP(bank.shape[1])
    index.add(bank)
    index.search(queries, k)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--bank", type=int, default=100_000, help="features that vote")
    parser.add_argument("--queries", type=int, default=10_000, help="features that are classified")
    parser.add_argument("--width", type=int, default=512, help="of the features")
    parser.add_argument("--k", type=int, default=200, help="neighbours")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    sets = [
        rng.standard_normal((count, options.width), dtype="float32")
        for count in (options.bank, options.queries)
    ]
    labels = [rng.integers(0, 1000, len(features)) for features in sets]
    for features in sets:
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    tracemalloc.start()
    kl.evaluation.knn(sets[0], labels[0], sets[1], labels[1], k=options.k)
    grown = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    arrays = sum(features.nbytes for features in sets) / 2**20

    def speed(work):
        def measure():
            started = time.perf_counter()
            work()
            return options.queries / (time.perf_counter() - started)

        return measure

    several = (1, 20, options.k)
    candidates = {
        "kNN": speed(lambda: kl.evaluation.knn(sets[0], labels[0], sets[1], labels[1], k=options.k)),
        f"kNN, k of {several}": speed(
            lambda: kl.evaluation.knn(sets[0], labels[0], sets[1], labels[1], k=several)
        ),
        "bare product and argpartition": speed(lambda: bare(*sets, options.k)),
    }
    try:
        import faiss  # noqa: F401

        candidates["faiss-cpu, exact"] = speed(lambda: faiss_search(*sets, options.k))
    except ImportError:
        print("faiss-cpu is not installed")
    title = f"{options.queries:,} queries in {options.bank:,} features of {options.width}, k {options.k}"
    print(table(title, rounds(candidates, options.rounds), "kNN"))
    print(f"peak memory of kNN: {grown:.0f} MiB, and the arrays themselves: {arrays:.0f} MiB")


if __name__ == "__main__":
    main()
