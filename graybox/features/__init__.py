"""What is inside the network: its last maps, the patches that excite them, and whether they correspond."""
