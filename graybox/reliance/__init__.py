"""Object or context: what the network's answers rest on.

`interventions` hides the object or the context in test images. `rule` turns the remaining accuracy into a verdict, for
one image and for all. `verdict` adds the intervals and the sentence. `examine` runs the occlusion experiment on one
image, `experiment` stores its results, and `commentary` puts them in words. `params` has the section `reliance`.
"""
