"""What the daemon tells over HTTP: the catalogue as Consul would, metrics, and a page for people."""
