"""The parametric CNN, its training and its answers.

`params` has the sections `model` and `train`: all parameters of a network. `sizes` computes the size and cost of each
layer, `cnn` builds and saves the network, `training` fits it with `augmentation` and `optimizers`, and `inference`
gives class scores and probabilities for images. Nothing here knows that there are several variants.
"""
