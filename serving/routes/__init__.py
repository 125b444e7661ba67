"""The HTTP interface: a module for each group of routes. What they share belongs to `service`."""
