"""Units for systemd: templates, instances' drop-ins, and the fences around each service."""
