"""Figures about figures: scores, intervals, paired comparisons, and the tables that stages leave for one another."""
