"""What engines print: read into figures by part, and set beside what deployfit says."""
