"""What the sections and the curves of a report show, in sentences for readers who do not know the method."""

from __future__ import annotations

SECTIONS = {  # by the name of the section
    "summary": (
        "✓ marks a finding that speaks for the training, ✗ one against it, and – one that is "
        "undecided. kNN is a vote of the 20 most similar training "
        "images. Linear is a linear classifier of the features, trained with all labels, or with a "
        "few labels of each class."
    ),
    "training": (
        "What was measured in each epoch, that is one pass over all training images. The query is the"
        " encoded view that the network is trained on; its keys are the other encoded views of the "
        "same image, and the negatives are keys of other images. The network learns to make a query "
        "more like its keys than like the negatives."
    ),
    "views": (
        "What the encoders get of some pictures. The training makes the query and the keys of a picture "
        "similar: it takes all of them for the same thing."
    ),
    "retrieval": (
        "A random crop of each image is compared with the whole images, the originals, by the cosine "
        "of their features. The curves show how often the most similar originals hold the one that "
        "the crop was cut from."
    ),
    "robustness": (
        "The test images were changed, weakly to strongly, and named by kNN, a vote of the most "
        "similar training images, which were not changed. Severity goes from 1, the weakest change, "
        "upwards."
    ),
    "confusion": ("Which classes kNN, a vote of the most similar training images, takes for which others."),
    "further": (
        "The other results of the run: shares in percent, with their 95 % intervals. A result whose name the "
        "report does not know, such as that of an evaluator of your own, is taken for a share."
    ),
    "recipe": ("All settings of the training. Each of them is also a flag of leoclr pretrain."),
    "environment": (
        "What the training ran with. The content of the data is a checksum: data of the same checksum"
        " are the same."
    ),
}

BASELINES = {  # by the name of what was judged; they follow the explanation of the summary
    "random": "The random backbone is the same network with random weights.",
    "raw pixels": "Raw pixels are the pixels of the images, without any network.",
}

CURVES = {  # by the column of history.csv: title, and what it says
    "loss_to_chance": (
        "Loss divided by that of guessing",
        "1 is a network that cannot tell the keys of an image from the negatives. The lower, the "
        "better they are told apart.",
    ),
    "loss": (
        "Loss",
        "The training loss. It depends on the number of negatives and keys, unlike the curve before.",
    ),
    "knn_top1": (
        "kNN accuracy on held-out training images, %",
        "Share of training images, left out of the vote, whose class the most similar others name rightly.",
    ),
    "knn_map": (
        "Mean average precision of kNN on held-out training images, %",
        "100 if the vote of the most similar images ranks all images with a class before those "
        "without, for every class.",
    ),
    "online_linear_top1": (
        "Accuracy of a linear classifier on the same images, %",
        "The classifier is trained alongside, on frozen features; the backbone learns nothing from it.",
    ),
    "probe_map": (
        "Mean average precision of a linear classifier on the same images, %",
        "The classifier is trained alongside, on frozen features; the backbone learns nothing from it.",
    ),
    "positive_similarity": (
        "Similarity of a query and its keys",
        "Mean cosine; 1 if they are the same. It should lie above that of a query and the negatives.",
    ),
    "negative_similarity": (
        "Similarity of a query and the negatives",
        "Mean cosine of a query and keys of other images; 0 if they have nothing in common.",
    ),
    "feature_std": (
        "Standard deviation of the queries",
        "How different the queries of different images are. It falls to 0 if all images get the same "
        "features (collapse).",
    ),
    "contrast_accuracy": (
        "Keys more similar to the query than all negatives, %",
        "How often the training task is solved.",
    ),
    "learning_rate": (
        "Learning rate",
        "Step size of the optimizer, as its schedule has set it.",
    ),
    "momentum": (
        "Momentum of the key encoder",
        "The share of its weights that the key encoder keeps at each step; the rest comes from the "
        "query encoder.",
    ),
    "images_per_second": (
        "Images per second",
        "Speed of the training, over all devices.",
    ),
    "waiting": (
        "Time spent waiting for data, %",
        "Share of the time in which the device had no batch to compute. High values call for faster reading.",
    ),
}
