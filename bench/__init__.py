"""Benchmarks of the daemon beside other receivers: ``make bench``. Not part of the tests."""
