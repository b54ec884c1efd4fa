"""Explains each measure in one or two sentences, for tables that are read without the documentation."""

from __future__ import annotations

# The longest entry that a name begins with applies.
BEGINNINGS = {
    "knn/": "A vote of the k most similar training images names the class of an image (kNN).",
    "knn_train/": "As kNN, for training images, each among the others.",
    "linear/": "A linear classifier of the features, trained with all labels, names the class.",
    "linear_few/": "A linear classifier of the features, trained with few labels, names the class.",
    "linear_sgd/": "A linear layer, trained on random crops with all labels, names the class.",
    "finetune/": "Backbone and classifier, trained with a part of the labels, name the class.",
    "robustness/": "The test images were changed, the classifier has seen unchanged ones only.",
    "retrieval/recall@1": "Share of random crops whose own original is the most similar of all originals.",
    "retrieval/recall@5": "Share of random crops whose own original is among the five most similar ones.",
    "quality/alignment": "Mean squared distance of the features of two views of one image.",
    "quality/alignment_original": "Mean squared distance of the features of a crop and its original.",
    "quality/uniformity": "How evenly the features are spread; the smaller, the more evenly.",
    "quality/rankme": "Number of dimensions that the features make use of (RankMe).",
    "quality/worst_class": "Accuracy of kNN on the class that it names rightly least often.",
}
ENDINGS = {
    "/top1": "Share of the images for which that is right.",
    "/top5": "Share of the images whose class is among the first five answers.",
    "/mean_per_class": "Mean over the classes of the share of their images for which that is right.",
    "/map": "Mean average precision: 100 where every image that has a class is ranked before all others.",
}


def meaning_of(name: str) -> str:
    """Sentences that explain a measure; "" if it is not known.

    Args:
        name: name of the measure, such as "knn/top1".
    """
    found = max((known for known in BEGINNINGS if name.startswith(known)), key=len, default="")
    ending = next((text for end, text in ENDINGS.items() if name.endswith(end)), "")
    return f"{BEGINNINGS[found]} {ending}".strip() if found else ""
