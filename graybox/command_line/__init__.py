"""The command `occlude`: maps of photographs and the verdict over a folder, for any network.

`networks` builds the network that the options name and says how its pictures are prepared. `photographs` prepares the
pictures. `occlude` has the options, draws the panels, and calls `folder` for the verdict over a folder with boxes.
"""
