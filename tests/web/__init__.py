"""Tests for :mod:`ssdpreg.web`."""
