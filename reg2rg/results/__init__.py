"""What a report leaves in its folder, one file per format."""
