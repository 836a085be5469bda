"""``twistd ssdpreg``: options, wiring, clock, reload, service manager and log format."""
