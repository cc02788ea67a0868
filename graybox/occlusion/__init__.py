"""The gray window: the network's answer for every place of the window on an image (Zeiler & Fergus 2014, section 4.2).

`maps` gives the confidence map of an image, `evidence` says in numbers what a map shows about the object, `choice`
takes the images, and `fills` makes what the window shows. `incremental` computes only what the window changes; use it
through `maps`. `params` has the section `occlusion`.
"""
