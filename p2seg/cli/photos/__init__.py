"""Commands with plain options for one's own photographs; each calls commands of settings."""
