"""The only part of the diagnosis that looks at the machine."""
