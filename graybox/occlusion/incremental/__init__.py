"""The engine that computes only what the window changes; use it through `graybox.occlusion.maps`."""
