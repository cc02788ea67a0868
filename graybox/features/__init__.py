"""What happens inside the network.

`maps` finds the strongest map of the last conv layer, projects it to the pixels, and finds the patches that excite it
most. `correspondence` hides the same part of an object in several images and measures whether the features change in
the same way (Zeiler & Fergus 2014, section 4.3); `consistency` does the arithmetic. `params` has the section
`correspondence`.
"""
