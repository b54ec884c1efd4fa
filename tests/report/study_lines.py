"""Results of studies whose runs were not trained."""

import dataclasses

from keras_leoclr.recipes.fashion_mnist import RECIPE
from keras_leoclr.runs.results import Results


def lines_of(path, values, methods=()):
    """Writes the linear accuracies `values`, by variant and seed, as lines of a study of the temperature."""
    results = Results(path)
    for place, (variant, seeds) in enumerate(values.items()):
        for seed, value in enumerate(seeds):
            about = {"ablation": "temperature", "variant": variant, "seed": seed}
            results.write("linear/top1", value, **about)
            changes = {"seed": seed, "method": methods[place] if methods else RECIPE.method}
            own = {**dataclasses.asdict(RECIPE), **changes}
            run = {"run": f"{place}-{seed}", "place": place, "recipe": own}
            results.write("study/run", 1.0, **about, **run, command="c", environment={})
            results.write("curve/knn_top1", value, **about, epochs=[[1, value]])
    return results
