"""reg2rg."""
