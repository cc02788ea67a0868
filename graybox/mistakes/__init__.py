"""What the best network gets wrong, and why: evidence, traits, reasons, confusions."""
