"""What the best network gets wrong, and why.

`evidence` gathers what is known about each test image, with `neighbours`, `label_suspects` and `picture_measures`.
`traits` lists the possible reasons; `reasons` tests them over all mistakes and names one for each image.
`confusions` counts which classes are confused. `analysis` runs all of it. `params` has the section `mistakes`.
"""
