"""Every picture: results in, matplotlib figure out."""
