"""The parametric CNN, its training and its answers.

`params` has the sections `model` and `train`: every knob of a network is there. `sizes` computes what the layers give
and cost, `cnn` builds them and saves them, `training` fits them with `augmentation` and `optimizers`, and `inference`
gives class scores and probabilities for images. Nothing here knows that there are several variants.
"""
