"""What was learned, judged on frozen features."""

from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.knn import knn
from keras_leoclr.evaluation.linear import linear_probe, linear_probe_few_labels

__all__ = ["extract_features", "knn", "linear_probe", "linear_probe_few_labels"]
