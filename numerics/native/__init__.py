"""Compiled helpers: a C++ library built on first use, its cache and child processes."""
