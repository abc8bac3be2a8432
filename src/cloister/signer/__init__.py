"""The signer: a process that alone holds the keys of S3 stores, and signs single uploads."""

KIND = "signer"
"""What its sockets are called where they are kept."""
