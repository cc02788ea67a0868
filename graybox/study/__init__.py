"""What the variants say when they stand side by side: the table, the combination, what came of it."""
