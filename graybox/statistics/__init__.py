"""Numbers about numbers, for every other room; nothing here knows an image or a network.

`scores` says how good answers are, `intervals` gives a share or a mean its 95% interval, `paired` compares two networks
on the same images, and `tables` reads the CSV files that stages leave for one another. Arrays and tables go in, numbers
come out.
"""
