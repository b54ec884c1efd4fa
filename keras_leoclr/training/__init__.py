"""Everything from a recipe to a pretrained backbone: settings, model, training, evaluation and studies."""
