"""What the deployed stack is made of: files, scripts and templates, as far as no container is needed."""
