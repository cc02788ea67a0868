"""Graybox: what does a small CNN learn, and does it look at the object or at what surrounds it?"""
