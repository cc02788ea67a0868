"""Every picture of the study.

Each module draws one subject: results go in, a matplotlib figure comes out, and nothing is computed that another room
could compute. `album` says which picture is made of which files; `style` has the colours and how a picture is saved.
"""
