"""What people type: pure functions from a text to what it means, or to an error that lists what it may mean."""
