"""Bundles change under load, and nobody notices but by the name of the bundle.

A short form of `python -m benchmarks.swaps`, which takes a minute and bundles of full size.
"""

from pathlib import Path

from movie_platform.rating_model.bundle import Bundle
from movie_platform_tests.serving.swapping import swap_under_load, variants


def test_bundles_change_under_load(bundle: Bundle, tmp_path: Path):
    """No request fails, each answer is its bundle's, and what is damaged never answers."""
    bundles = variants(bundle, 8)
    seen = swap_under_load(tmp_path, bundles, bad=3, seconds=8, connections=16, poll_seconds=0.2)
    assert not seen.failures, seen.failures[:5]
    assert (seen.released, seen.damaged) == (8, 3)
    assert len(seen.answers) >= 6
    assert seen.refused >= 2
    assert sum(seen.answers.values()) > 500
    assert max(seen.memory) - min(seen.memory) < 40
