"""Evaluation of backbones: on frozen features, by fine-tuning, and on changed images.

Names are imported when they are first used: evaluators of features work without TensorFlow, evaluators that
read images need it.
"""

from keras_leoclr import lazy

_PLACES = {
    "EVALUATORS": "suite_options",
    "KNN": "feature_evaluators",
    "TARGETS": "transfer",
    "Embedding": "embedding",
    "FewLabels": "feature_evaluators",
    "Finetune": "finetune",
    "Linear": "feature_evaluators",
    "LinearClassifier": "linear_on_features",
    "LinearProbe": "linear_on_crops",
    "Quality": "quality",
    "Retrieval": "retrieval",
    "Robustness": "robustness",
    "RunEvaluation": "run_evaluation",
    "Score": "scores",
    "Suite": "suite",
    "SuiteOptions": "suite_options",
    "Target": "transfer",
    "Transfer": "transfer",
    "alignment": "feature_geometry",
    "compare": "comparison",
    "data_identity": "batches",
    "extract_features": "features",
    "features_identity": "batches",
    "fit_linear": "linear_on_features",
    "in_precision": "features",
    "knn": "neighbour_votes",
    "knn_leave_one_out": "neighbour_votes",
    "labelled_batches": "batches",
    "linear_probe": "linear_on_features",
    "linear_probe_few_labels": "linear_on_features",
    "published_list": "finetune",
    "rankme": "feature_geometry",
    "shared_images": "batches",
    "uniformity": "feature_geometry",
    "write_scores": "scores",
}
__all__ = list(_PLACES)
__getattr__, __dir__ = lazy.attach(__name__, _PLACES)
