"""The HTTP service: answers with the newest released bundle, and shows the upcoming films.

It reads what the platform has written, and takes from it only `settings`, `storage`, `releases`, `rating_model` and
TMDB's constants: no Dagster, no pandas, and nothing that runs code when it is loaded.
"""
