"""The report: tables, sentences and figures of the other rooms in one HTML file.

`page` fills the template page.html. Nothing is computed here.
"""
