"""The images: from any source to one memory-mapped array and a table of what each image is.

`sources` reads the data sets that people have, `scenes` draws pictures that need no download, and `prepare` decodes,
resizes, splits and removes duplicates. `images` is all that the other rooms use: an `ImageSet` of pictures, labels,
boxes and names. `params` has the sections `data` and `sources` of params.yaml.
"""
