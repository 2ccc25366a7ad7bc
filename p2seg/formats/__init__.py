"""Formats of other tools: clicks (`points`) and masks (`masks`), one module per format."""
