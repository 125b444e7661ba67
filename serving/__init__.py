"""The HTTP service that answers with the newest released bundle: a package of its own, installed without Dagster.

It takes `rating_model`, `releases`, `storage` and `settings` from the platform and nothing else; import contracts
hold that. There is no service in it yet.
"""
