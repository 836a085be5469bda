"""Read-only HTTP server: Consul's read API, Prometheus service discovery, metrics, and the status page."""
