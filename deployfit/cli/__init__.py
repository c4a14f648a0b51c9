"""The command line: a door to the questions. Nothing else imports click."""
