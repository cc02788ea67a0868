"""Object or surroundings: what the network's answers rest on.

`interventions` hides the object, or everything else, in test images; `rule` turns what is left into a verdict, for one
image and for all; `verdict` adds the intervals and the sentence. `examine` asks all of this of one image, `experiment`
keeps what was found, and `commentary` says it in words. `params` has the section `reliance`.
"""
