"""What launch/study trains, collects and reports."""
