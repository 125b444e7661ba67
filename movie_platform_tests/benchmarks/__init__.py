"""Tests of the measurements themselves, on small catalogues."""
