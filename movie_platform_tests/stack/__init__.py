"""The deployed stack, as real containers: `make stack-test`."""
