"""The parametric CNN and its training: layers and their costs, augmentation, optimizers, answers."""
