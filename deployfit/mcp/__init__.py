"""The door for agents: questions as tools of the Model Context Protocol."""
