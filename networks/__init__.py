"""Your own networks, for `model.architecture: networks.FILE:FUNCTION` in params.yaml; `example` is one.

The function is given the number of classes and gives a `torch.nn.Module`: images as float [B, 3, H, W], normalised, to
class scores (logits), float [B, classes]. DVC watches this folder. After an edit, a variant is trained again if its
module, or a module of yours that this imports, has changed. Files of initial weights (`model.weights`) lie here too.
"""
