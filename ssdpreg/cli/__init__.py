"""
The ``ssdpreg`` command: one module for each subcommand, and the modules that they share.

A module that is named after a subcommand defines its options. It imports the code that runs it, and with that Twisted,
only when the subcommand runs, so that ``ssdpreg --help`` starts quickly.
"""
