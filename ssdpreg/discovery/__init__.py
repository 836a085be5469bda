"""Live services: the meaning of messages, the table of advertisements, search terms, limits. Pure."""
