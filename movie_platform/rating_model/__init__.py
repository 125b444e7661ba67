"""The rating model as a library: features, training, evaluation, bundle, plots.

What belongs here: everything that turns a table of films into a model, figures and predictions. What does not:
Dagster, HTTP, the environment, and files other than the formats defined here (given and taken as bytes).

To predict with a bundle, ``bundle`` and either ``model`` (tables) or ``rows`` (one film at a time) are enough; they
need no scikit-learn and no matplotlib, so that a service can be installed without them. Only ``training`` (and
``evaluation``, which trains) needs scikit-learn, and only ``plots`` needs matplotlib. Reading a bundle and predicting
by ``rows`` imports neither pandas nor LightGBM's package. This module stays empty for the same reason.
"""
