"""The images: from any source to one memory-mapped array with a table, duplicates and all.

`sources` reads what people have, `scenes` draws what needs no download, `prepare` decodes and splits, `images` is
what every other room sees of it: an `ImageSet`."""
