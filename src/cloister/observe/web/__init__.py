"""The status page: one HTML document, whole without script, live with it."""
