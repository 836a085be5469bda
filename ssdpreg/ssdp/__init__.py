"""Simple Service Discovery Protocol (SSDP): messages, codec, sockets and scheduling of searches."""
