"""What a person sees of a Snapshot, on the status page and in the terminal."""
