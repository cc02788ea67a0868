"""The page for a reader."""
