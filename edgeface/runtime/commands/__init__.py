"""The device half's commands, one module each: `add_arguments` fills a parser, `run` gives the exit code."""
