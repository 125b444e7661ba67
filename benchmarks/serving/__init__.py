"""How fast the service answers, beside mlflow's; ``__main__`` says what is measured and how to call it."""
