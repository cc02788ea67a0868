"""The gray window: what it does to a network's answer by where it lies, fast, and what a map shows in figures."""
