"""Object or context: hide either, judge by a rule, say it in words, and all that is asked of one image."""
