"""The drive for aero: a company's documents, mounted as a tree of files."""

__version__ = "0.1.0"
