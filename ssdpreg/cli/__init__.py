"""The ``ssdpreg`` command: one module for each subcommand, and the modules that they share."""
