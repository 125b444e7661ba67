"""Tests of the rating model."""
