"""``twistd ssdpspoof``: announcer of the devices in a file, to test control points with."""
