"""What is known of nginx: its configuration's lines that lead to sockets, and its error log."""
