"""A network daemon that keeps Consul true to what SSDP devices announce."""

__version__ = "0.1.0"
