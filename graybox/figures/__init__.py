"""Every figure of the study.

Each module draws one subject from results: a matplotlib figure comes out, and the results are computed in other rooms.
`album` says which figure needs which files; `style` has the colours and saves figures.
"""
