"""Fixtures of the tests of pages."""

from browser_sets import browser as browser
from browser_sets import page as page
