"""Where settings come from: command line, environment, a TOML file."""
