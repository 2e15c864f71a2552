"""The command line: argv -> config -> one call of api per subcommand."""
