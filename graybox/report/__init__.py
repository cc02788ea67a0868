"""The page for a reader: tables, sentences and pictures of the other rooms in one HTML file.

`page` fills the template page.html. Nothing is computed here.
"""
