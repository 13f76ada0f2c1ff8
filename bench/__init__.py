"""What a pass and a scrape cost: against a C program that does the same, and against peers."""
