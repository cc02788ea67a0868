"""Occlusion: the network's answer for every position of a gray window on an image (Zeiler & Fergus 2014, section 4.2).

`maps` computes the confidence map of an image, `evidence` measures what a map shows about the object, `choice` selects
the images, and `fills` makes the fill of the window. `incremental` computes only what the window changes; use it
through `maps`. `params` has the section `occlusion`.
"""
