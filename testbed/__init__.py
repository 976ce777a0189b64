"""Containers that stand in for real Debian hosts and for Let's Encrypt.

The demo, Molecule and the benchmarks all get their hosts here, so that what one of them shows holds for the others.
Standard library only: it runs before any virtual environment exists.
"""
