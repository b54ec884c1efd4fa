"""What was learned, judged on frozen features, by fine-tuning and on changed images."""

from keras_leoclr.evaluation.batches import data_identity, labelled_batches, shared_images
from keras_leoclr.evaluation.comparison import compare
from keras_leoclr.evaluation.embedding import Embedding
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.finetune import Finetune
from keras_leoclr.evaluation.linear import (
    LinearClassifier,
    fit_linear,
    linear_probe,
    linear_probe_few_labels,
)
from keras_leoclr.evaluation.linear_sgd import LinearProbe
from keras_leoclr.evaluation.neighbor_votes import knn, knn_leave_one_out
from keras_leoclr.evaluation.probes import KNN, FewLabels, Linear
from keras_leoclr.evaluation.quality import Quality, alignment, rankme, uniformity
from keras_leoclr.evaluation.retrieval import Retrieval
from keras_leoclr.evaluation.robustness import Robustness
from keras_leoclr.evaluation.scores import Score, write_scores
from keras_leoclr.evaluation.transfer import TARGETS, Target, Transfer

__all__ = [
    "KNN",
    "TARGETS",
    "Embedding",
    "FewLabels",
    "Finetune",
    "Linear",
    "LinearClassifier",
    "LinearProbe",
    "Quality",
    "Retrieval",
    "Robustness",
    "Score",
    "Target",
    "Transfer",
    "alignment",
    "compare",
    "data_identity",
    "extract_features",
    "fit_linear",
    "knn",
    "knn_leave_one_out",
    "labelled_batches",
    "linear_probe",
    "linear_probe_few_labels",
    "rankme",
    "shared_images",
    "uniformity",
    "write_scores",
]
