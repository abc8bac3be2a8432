"""Text for the programs that start Cloister or stand beside it: pure functions, no I/O."""
