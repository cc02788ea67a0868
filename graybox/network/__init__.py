"""The parametric CNN and other networks, their training and their answers.

`params` has the sections `model` and `train`: all parameters of a network. `sizes` computes the size and cost of each
layer, `cnn` builds and saves the network, `training` fits it with `augmentation` and `optimizers`, and `inference`
gives class scores and probabilities for images. `classifier` says what the other rooms ask of a network; `wrapped`
makes one of any module, which `architectures` builds by name. Nothing here knows that there are several variants.
"""
