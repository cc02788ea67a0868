"""The report: the results of the other rooms in one HTML page and one PDF.

`results` reads what the stages wrote, `content` makes one `document` of it, and `html` and `pdf` render that document.
Nothing is computed here that the figures and tables do not say.
"""
