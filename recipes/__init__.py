"""One recipe per data set; `Recipe` and `pretrain` are what one writes and runs a recipe with."""

from keras_leoclr import lazy

__all__ = ["Recipe", "pretrain"]
__getattr__, __dir__ = lazy.attach(
    __name__, {"Recipe": ".training.recipe", "pretrain": ".training.pretraining"}
)
