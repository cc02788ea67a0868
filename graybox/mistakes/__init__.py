"""What the best network gets wrong, and why.

`evidence` gathers what is known of each test image, with `neighbours`, `label_suspects` and `picture_measures`.
`traits` lists the possible reasons; `reasons` says which of them hold for the mistakes as a group and which is the most
likely for each image. `confusions` counts which classes are taken for which. `analysis` runs all of it. `params` has
the section `mistakes`.
"""
