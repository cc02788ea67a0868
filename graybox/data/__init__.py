"""The images: from any source to one memory-mapped array and a table that describes each image.

`sources` reads data sets, `scenes` draws pictures that need no download, and `prepare` decodes, resizes, splits and
removes duplicates. Other rooms use only `images`: an `ImageSet` of pictures, labels, boxes and names. `params` has the
sections `data` and `sources` of params.yaml.
"""
