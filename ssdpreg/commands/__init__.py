"""The subcommands of ``ssdpreg`` that speak to a network: one module each, and what they share."""
