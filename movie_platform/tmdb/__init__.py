"""TMDB: the client, the collection of whole date windows, the built-in catalogue, films as a table.

It knows HTTP and the shape of TMDB's items. Dagster, the model, storage and the environment stay out.
"""
