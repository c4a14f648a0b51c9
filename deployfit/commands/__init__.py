"""What to type next: the command that starts what was asked about, in the application's own words."""
