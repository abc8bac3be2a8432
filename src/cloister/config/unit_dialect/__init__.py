"""NGINX Unit's configuration, read as it is written, with Unit's own defaults.

What it describes becomes the same snapshot as a native configuration. What is HTTP in Unit (its
router, its TLS, its statistics of requests) is refused with what to use instead: the door
relays connections and reads none of their bytes.
"""
