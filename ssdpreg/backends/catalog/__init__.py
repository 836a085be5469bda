"""Backend for Consul in catalog mode: each device is a node of the catalog."""
