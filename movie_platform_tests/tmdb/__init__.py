"""Tests of the TMDB library."""
