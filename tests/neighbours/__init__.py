"""One application that takes all it can get, and the one beside it: ``make bench-neighbours``."""
