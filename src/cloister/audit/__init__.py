"""Three questions about every process: what could it do, read and exhaust if it were taken over."""
