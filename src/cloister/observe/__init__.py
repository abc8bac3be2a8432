"""What is seen from outside: metrics, the gateway to applications' metrics, top, the page."""
