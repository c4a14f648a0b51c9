"""Reports: answers as text for a person, and as data for a program."""
