"""A recipe to a trained backbone: settings, model, training, evaluation, studies."""
