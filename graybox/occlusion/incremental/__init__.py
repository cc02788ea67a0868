"""The engine that computes only what the window changes; `graybox.occlusion.maps` is the door to it."""
