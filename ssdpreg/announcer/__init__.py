"""``twistd ssdpspoof``: an announcer of devices that a file describes, to test listeners with."""
